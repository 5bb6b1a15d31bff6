"""Names that a page must show as they are: one that is markup, one that is mathematics and a formula."""

HOSTILE = '<img src=x onerror="alert(1)">'
MATHS = r"$\frac{1}{$ & =1+1"
