"""One synthetic frontal chest radiograph, drawn from known factors.

The picture is built as a detector sees it: what lies in the beam is summed as attenuation (body wall, heart and
mediastinum, spine, ribs, clavicles, arms, abdomen; air in the lungs is what is missing), and a display curve turns it
into grey, bone and soft tissue bright, air black. Coordinates run from -1 to 1, x to the right of the picture (the
patient's left), y downwards. It is drawn at twice the size and averaged down.

Not modelled: scatter as a physical process, devices, drains, wires, projection from behind, children.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8
from scipy.ndimage import gaussian_filter, zoom

from zatlas.images.resizing import block_mean
from zatlas.randomness import generator

__all__ = ["FACTOR_RANGES", "draw_radiograph", "patient_of"]

FACTOR_RANGES: dict[str, tuple[float, float]] = {
    "lung_size": (0.80, 1.15),
    "heart_size": (0.34, 0.66),
    "rotation": (-15.0, 15.0),
    "exposure": (-1.0, 1.0),
    "ribs": (0.3, 1.7),
    "opacity": (0.0, 1.0),
    "marker": (0.0, 1.0),
    "inspiration": (0.0, 1.0),
}
"""Lowest and highest value of each factor; units in `zatlas.images.phantom`."""

_PER_BLOCK = (10, 7)  # of 10 images in a row, 7 are of different patients
_DEPTHS = {"spine": -0.50, "heart": 0.42, "sternum": 0.55}  # in front of the axis of rotation, in half-widths
_LETTERS = {  # burnt-in side markers, 5 x 3
    "L": ("1..", "1..", "1..", "1..", "111"),
    "R": ("11.", "1.1", "11.", "1.1", "1.1"),
}

Field = Float32[np.ndarray, "h w"]


@dataclass(frozen=True)
class _Patient:
    """What stays the same in all images of a patient."""

    lung_size: float
    heart_size: float
    ribs: float
    label: str
    opacity_side: int  # -1: left in the picture
    opacity_y: float
    opacity_x: float
    opacity_radius: float
    rib_phase: float
    rib_slope: float
    shoulder: float
    trunk: float
    heart_tilt: float
    stomach_gas: float
    branches: Float[np.ndarray, "side branch 4"]  # angle [rad], bend, length, strength


def patient_of(seed: int, image: int, *, patients: int = 0) -> int:
    """Number of the patient of an image, independent of how many images there are.

    Args:
        patients: Number of patients. 0 means about 0.7 per image: of ten images in a row seven are of new patients, the
            other three of one of these again.
    """
    if patients:
        return image if image < patients else int(generator(seed, "phantom order", image).integers(patients))
    block, place = divmod(image, _PER_BLOCK[0])
    rng = generator(seed, "phantom order", block)
    again = rng.integers(_PER_BLOCK[1], size=_PER_BLOCK[0] - _PER_BLOCK[1])
    order = rng.permutation(np.concatenate([np.arange(_PER_BLOCK[1]), again]))
    return block * _PER_BLOCK[1] + int(order[place])


def draw_radiograph(
    seed: int, image: int, patient: int, *, size: int
) -> tuple[UInt8[np.ndarray, "h w"], dict[str, float], str]:
    """Draw image number `image`, a pure function of the arguments.

    Returns:
        The picture (size, size), its factors and its label ("normal" or "opacity").
    """
    who = _draw_patient(generator(seed, "phantom patient", patient))
    rng = generator(seed, "phantom radiograph", image)
    factors = {
        "lung_size": who.lung_size,
        "heart_size": who.heart_size,
        "rotation": float(rng.uniform(*FACTOR_RANGES["rotation"])),
        "exposure": float(rng.uniform(*FACTOR_RANGES["exposure"])),
        "ribs": who.ribs,
        "opacity": float(rng.uniform(0.3, 1.0)) if who.label == "opacity" else 0.0,
        "marker": float(rng.uniform() < 0.5),
        "inspiration": float(rng.uniform(*FACTOR_RANGES["inspiration"])),
    }
    fine = 2 * size
    attenuation, body = _attenuation(rng, who, factors, fine)
    grey = _display(rng, attenuation, body, factors["exposure"])
    if factors["marker"]:
        _burn_in(rng, grey)
    grey = block_mean(grey, 2)
    grey += rng.normal(0, 1.8, size=grey.shape)
    pixels = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return pixels, {name: round(value, 6) for name, value in factors.items()}, who.label


def _draw_patient(rng: np.random.Generator) -> _Patient:
    branches = np.stack(
        [
            rng.uniform(-2.6, 2.6, size=(2, 11)),  # angle from "sideways"
            rng.normal(0, 0.9, size=(2, 11)),
            rng.uniform(0.16, 0.42, size=(2, 11)),
            rng.uniform(0.5, 1.0, size=(2, 11)),
        ],
        axis=-1,
    )
    return _Patient(
        lung_size=float(rng.uniform(*FACTOR_RANGES["lung_size"])),
        heart_size=float(rng.uniform(*FACTOR_RANGES["heart_size"])),
        ribs=float(rng.uniform(*FACTOR_RANGES["ribs"])),
        label="opacity" if rng.uniform() < 0.4 else "normal",
        opacity_side=int(rng.choice([-1, 1])),
        opacity_y=float(rng.uniform(-0.30, 0.30)),
        opacity_x=float(rng.uniform(0.38, 0.52)),
        opacity_radius=float(rng.uniform(0.16, 0.26)),
        rib_phase=float(rng.uniform(-0.06, 0.06)),
        rib_slope=float(rng.uniform(0.95, 1.05)),
        shoulder=float(rng.normal(0, 0.015)),
        trunk=float(rng.normal(0, 0.015)),
        heart_tilt=float(rng.normal(0.55, 0.03)),
        stomach_gas=float(max(rng.uniform(-0.12, 0.16), 0)),
        branches=branches,
    )


# ---- anatomy


@dataclass(frozen=True)
class _Frame:
    """Coordinates and the outline of the thorax shared by all organs of one image."""

    x: Field
    y: Field
    half: float  # half-width of the inside of the thorax at its widest
    apex: float  # y of the tops of the lungs
    dome: tuple[float, float]  # y of the two domes of the diaphragm, left and right in the picture
    turn: float  # sine of the rotation

    def shift(self, organ: str) -> float:
        """How far an organ moves sideways because the patient is turned."""
        return self.turn * _DEPTHS[organ] * self.half


def _attenuation(rng: np.random.Generator, who: _Patient, factors: dict[str, float], n: int) -> tuple[Field, Field]:
    """Sum of all that lies in the beam, 0 (air) to 1.3 (spine and heart), and the share inside the body."""
    frame = _frame(rng, factors, n)
    body = _body(frame, who)
    lungs = _lungs(frame)
    either = lungs[0] + lungs[1]
    heart = _heart(frame, who, factors["heart_size"])
    air = either * (1 - 0.93 * heart)
    side_light = 1 + 1.5 * frame.turn * np.tanh(3 * frame.x)
    total = body * (0.60 + 0.10 * _gauss(frame.x, 0.0, 0.45))
    total -= 0.26 * frame.turn * frame.x * body  # the side turned away from the detector is thinner
    total -= 0.41 * air * (0.86 + 0.14 * _sigmoid((0.35 - frame.y) / 0.3)) * side_light
    total += 0.10 * _sigmoid((frame.y - min(frame.dome) - 0.08) / 0.06) * body * (1 - either)  # liver and stomach
    bubble = np.hypot((frame.x - 0.34 * frame.half / 0.7) / 0.15, (frame.y - frame.dome[1] - 0.20) / 0.075)
    total -= who.stomach_gas * _sigmoid((1 - bubble) / 0.12) * body
    total += _mediastinum(frame) * body + 0.11 * (factors["heart_size"] / 0.5) ** 2 * heart * body
    total += _spine(frame) * body
    ribs = _ribs(frame, who) * factors["ribs"]
    total += ribs * body
    total += _clavicles(frame, who) * body * (0.6 + 0.4 * factors["ribs"])
    total += _vessels(frame, who) * air
    total += _opacity(rng, frame, who, factors["opacity"]) * air
    return np.asarray(total, np.float32), body


def _frame(rng: np.random.Generator, factors: dict[str, float], n: int) -> _Frame:
    axis = (np.arange(n, dtype=np.float32) + 0.5) / n * 2 - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    y = y - np.float32(rng.normal(0, 0.008))
    x = x - np.float32(rng.normal(0, 0.008))
    lung = factors["lung_size"]
    depth = 0.34 + 0.30 * factors["inspiration"] + 0.12 * (lung - 1)
    return _Frame(
        x=x,
        y=y,
        half=0.70 * lung,
        apex=-0.72 - 0.25 * (lung - 1),
        dome=(depth - 0.05, depth + 0.02),
        turn=float(np.sin(np.deg2rad(factors["rotation"]))),
    )


def _body(f: _Frame, who: _Patient) -> Field:
    """Share of the pixel inside the body: neck, shoulders, trunk and the inner side of the arms."""
    across = np.abs(f.x)
    neck_line = -0.82 + who.shoulder + 0.10 * across - 0.45 * np.exp(-((across / 0.27) ** 3)) + 0.30 * across**7
    below_shoulders = _sigmoid((f.y - neck_line) / 0.018)
    wall = (0.86 + 0.6 * (f.half - 0.7) + who.trunk) * (0.97 + 0.05 * np.cos(2.2 * (f.y - 0.15)))
    trunk = _sigmoid((wall - across) / 0.012)
    arm_edge = wall + 0.015 + 0.10 * np.maximum(f.y + 0.30, 0)  # the armpit opens downwards
    arm = _sigmoid((across - arm_edge) / 0.012) * _sigmoid((1.02 - across + 0.1 * f.y) / 0.03)
    above_armpit = _sigmoid((-0.26 - f.y) / 0.06)
    body = below_shoulders * np.maximum(np.maximum(trunk, above_armpit), 0.94 * arm)
    edge = np.clip(1 - (across / (wall + 0.02)) ** 8, 0.0, 1.0)  # the beam crosses less tissue at the flank
    return np.asarray(body * (0.86 + 0.14 * edge), np.float32)


def _lungs(f: _Frame) -> tuple[Field, Field]:
    """Air along the beam in the lung left and right in the picture, 0 to 1."""
    return _lung(f, -1, f.dome[0]), _lung(f, 1, f.dome[1])


def _flank(f: _Frame) -> Field:
    """Half-width of the inside of the thorax at each height: 0 above the apex, round, widest near the diaphragm."""
    down = np.clip((f.y - f.apex) / (1.18 - f.apex), 0, 1)
    return np.asarray(f.half * (1 - (1 - down) ** 4.0) ** 0.52 * (1 - 0.05 * np.maximum(down - 0.6, 0)), np.float32)


def _lung(f: _Frame, side: int, dome: float) -> Field:
    """A curved cone: narrow rounded apex, convex flank, base cut by the dome of the diaphragm."""
    x = side * f.x
    down = np.clip((f.y - f.apex) / (1.18 - f.apex), 0, 1)
    lateral = _flank(f) - side * 0.12 * f.turn * f.half
    medial = 0.11 + 0.13 * (1 - down) ** 6 + side * (0.5 * f.shift("heart"))
    base = dome + 0.20 * ((x - 0.36) / 0.36) ** 2 * np.where(x > 0.36, 1.0, 0.35) * f.half / 0.7
    inside = _sigmoid((lateral - x) / 0.016) * _sigmoid((x - medial) / 0.022) * _sigmoid((base - f.y) / 0.014)
    middle, reach = (lateral + medial) / 2, np.maximum((lateral - medial) / 2, 0.03)
    chord = np.sqrt(np.clip(1 - ((x - middle) / (reach * 1.12)) ** 2, 0, 1))
    return np.asarray(inside * (0.45 + 0.55 * chord), np.float32)


def _heart(f: _Frame, who: _Patient, ratio: float) -> Field:
    """Silhouette of the heart: an egg tilted to the patient's left whose width is `ratio` of the thorax."""
    half = ratio * f.half
    cx, cy = 0.27 * half + f.shift("heart") * 1.3, 0.36 + 0.20 * (min(f.dome) - 0.44) - 0.45 * half
    tilt = who.heart_tilt
    down = np.where(f.y > cy, 0.6, 1.0) * (f.y - cy)  # it lies broadly on the diaphragm
    along = (f.x - cx) * np.cos(tilt) + down * np.sin(tilt)
    across = down * np.cos(tilt) - (f.x - cx) * np.sin(tilt)
    distance = np.hypot(along / (1.10 * half), across / (0.80 * half * (1 - 0.15 * along / half)))
    return np.asarray(_sigmoid((1 - distance) * half / 0.026), np.float32)


def _mediastinum(f: _Frame) -> Field:
    """Great vessels and sternum above the heart, aortic knob, dark windpipe."""
    at = f.shift("heart")
    width = 0.125 + 0.05 * _sigmoid((f.y + 0.05) / 0.1)
    band = _sigmoid((width - np.abs(f.x - 0.6 * at)) / 0.025) * _sigmoid((f.y + 0.95) / 0.1)
    knob = _sigmoid((0.095 - np.hypot(f.x - 0.125 - at, f.y + 0.30)) / 0.02)
    trachea = _gauss(f.x, 0.3 * at, 0.035) * _sigmoid((-0.30 - f.y) / 0.05)
    return np.asarray(0.13 * np.maximum(band, knob) - 0.085 * trachea, np.float32)


def _spine(f: _Frame) -> Field:
    """Column of vertebrae with discs between them and the spinous processes."""
    x = f.x - f.shift("spine")
    column = _sigmoid((0.085 - np.abs(x)) / 0.015)
    beat = np.cos(2 * np.pi * f.y / 0.135)
    process = _gauss(x, 0.0, 0.018) * np.clip(beat, 0, 1)
    edges = _gauss(np.abs(x), 0.08, 0.015)
    return np.asarray(column * (0.075 + 0.022 * beat) + 0.04 * process + 0.02 * edges, np.float32)


def _ribs(f: _Frame, who: _Patient) -> Field:
    """Posterior ribs (arched, falling outwards) and fainter anterior ribs (falling inwards), with dense rims."""
    flank_at = np.maximum(_flank(f) + 0.035, 0.12)
    across = np.abs(f.x - 0.3 * f.shift("spine")) / flank_at
    inside = _sigmoid((1.0 - across) / 0.012) * _sigmoid((np.abs(f.x) - 0.09) / 0.02)
    cage = inside * _sigmoid((f.y - f.apex - 0.02) / 0.05) * _sigmoid((0.85 - f.y) / 0.10)
    spacing = 0.150 * (0.85 + 0.15 * f.half / 0.7)
    arch = who.rib_slope * (0.42 * across**3.0 - 0.16 * np.sin(np.pi * np.clip(across, 0, 1)))
    posterior = _band((f.y - arch) / spacing + who.rib_phase)
    fall = who.rib_slope * (0.10 + 0.55 * (1 - across) - 0.20 * across**4)
    anterior = _band((f.y - fall) / (spacing * 1.12) + who.rib_phase + 0.4) * _sigmoid((across - 0.42) / 0.08)
    flank = _gauss(across, 0.97, 0.035)  # the rib seen end-on where it turns forward
    strength = 0.070 * posterior * (1 + 1.1 * flank) + 0.035 * anterior * _sigmoid((0.45 - f.y) / 0.1)
    shade = 0.035 * flank * inside
    return np.asarray(cage * (strength + shade), np.float32)


def _band(phase: np.ndarray) -> np.ndarray:
    """Bands at whole numbers of `phase`, brighter at both rims (cortical bone)."""
    t = np.abs(phase - np.rint(phase))
    band = _sigmoid((0.21 - t) / 0.025)
    return np.asarray(0.70 * band + 0.45 * _gauss(t, 0.19, 0.045), np.float32)


def _clavicles(f: _Frame, who: _Patient) -> Field:
    """Two S-shaped bars whose inner ends move apart from the spine when the patient is turned."""
    inner = f.shift("sternum")
    total = np.zeros_like(f.x)
    for side in (-1, 1):
        t = (side * (f.x - inner) - 0.07) / 0.66  # 0 at the sternum, 1 at the shoulder
        middle = -0.55 + who.shoulder - 0.12 * t + 0.035 * np.sin(2 * np.pi * t)
        width = 0.026 + 0.012 * (2 * t - 1) ** 2
        u = np.abs(f.y - middle) / width
        ends = _sigmoid(t / 0.02) * _sigmoid((1 - t) / 0.04)
        total += ends * (0.09 * _sigmoid((1 - u) / 0.15) + 0.06 * np.exp(-(((u - 0.85) / 0.22) ** 2)))
        head = np.hypot(side * f.x - 0.93, f.y + 0.50 - who.shoulder)
        total += 0.10 * _sigmoid((0.135 - head) / 0.02)  # head of the arm bone
        shaft = np.abs(side * f.x - 0.93) / 0.055
        total += 0.07 * _sigmoid((1 - shaft) / 0.2) * _sigmoid((f.y + 0.50 - who.shoulder) / 0.03)
        blade = np.abs(side * f.x - 0.80 + 0.25 * (f.y + 0.45)) / 0.035
        total += 0.03 * np.exp(-(blade**2)) * _gauss(f.y, -0.25, 0.16)  # rim of the shoulder blade
    return np.asarray(total, np.float32)


def _vessels(f: _Frame, who: _Patient) -> Field:
    """Bright vessels that leave the hila, branch by branch thinner."""
    total = np.zeros_like(f.x)
    n = len(total)
    rows = slice(n // 12, n * 5 // 6)  # the rest holds no lung
    for branches, side, columns in zip(who.branches, (-1, 1), (slice(0, n // 2), slice(n // 2, n)), strict=True):
        dx = side * (f.x[rows, columns] - f.shift("heart")) - 0.17
        dy = f.y[rows, columns] + 0.10
        reach = np.hypot(dx, dy) + 1e-3
        turn = np.arctan2(dy, dx)
        lung = total[rows, columns]
        lung += 0.07 * np.exp(-((reach / 0.11) ** 2))
        for angle, bend, length, strength in branches.tolist():
            off = np.abs((turn - angle * 0.55 - bend * reach + np.pi) % (2 * np.pi) - np.pi) * reach
            width = 0.020 * np.exp(-reach / 0.45) + 0.006
            lung += 0.085 * strength * np.exp(-((off / width) ** 2) - reach / length) * np.clip(reach / 0.10, 0, 1)
    return np.asarray(total, np.float32)


def _opacity(rng: np.random.Generator, f: _Frame, who: _Patient, strength: float) -> Field:
    """A patchy focal consolidation in one lung."""
    if not strength:
        return np.zeros_like(f.x)
    cloud = gaussian_filter(rng.standard_normal((32, 32)).astype(np.float32), 1.45, mode="wrap")
    cloud = zoom(cloud / cloud.std(), f.x.shape[0] / 32, order=1, mode="nearest", grid_mode=True)
    distance = np.hypot(f.x - who.opacity_side * who.opacity_x * f.half / 0.7, (f.y - who.opacity_y) * 0.85)
    patch = _sigmoid((who.opacity_radius * (1 + 0.20 * cloud) - distance) / 0.05)
    return np.asarray(strength * 0.33 * patch * (1 + 0.12 * cloud), np.float32)


# ---- picture


def _display(rng: np.random.Generator, attenuation: Field, body: Field, exposure: float) -> Field:
    """Attenuation to grey: blur, exposure, a film-like curve; the air around the body is black."""
    n = attenuation.shape[0]
    total = gaussian_filter(attenuation, 0.0045 * n)
    step = n // 16
    coarse = gaussian_filter(total[step // 2 :: step, step // 2 :: step], 2.0, mode="nearest")
    haze = 0.05 * zoom(coarse, n / len(coarse), order=1, mode="nearest", grid_mode=True)  # scattered rays
    mottle = 0.006 * gaussian_filter(rng.standard_normal((n, n)).astype(np.float32), 0.8) * 2.8
    level = total + haze + mottle - 0.11 * exposure
    grey = 246 / (1 + np.exp(-(level - 0.47) * 5.0))
    skin = np.clip(1.25 * body, 0, 1) ** 2  # thin tissue at the edge of the body darkens fast
    return np.asarray(np.clip(grey * skin, 0, None) + 4, np.float32)


def _burn_in(rng: np.random.Generator, grey: Field) -> None:
    """A lead letter in an upper corner, L on the patient's left (right in the picture)."""
    n = grey.shape[0]
    letter = "L" if rng.uniform() < 0.5 else "R"
    cell = max(n // 64, 1)
    glyph = np.array([[mark == "1" for mark in line] for line in _LETTERS[letter]])
    glyph = np.kron(glyph, np.ones((cell, cell), bool))
    top = int(rng.uniform(0.06, 0.09) * n)
    inset = int(rng.uniform(0.05, 0.07) * n)
    left = n - inset - glyph.shape[1] if letter == "L" else inset
    window = grey[top : top + glyph.shape[0], left : left + glyph.shape[1]]
    window[glyph] = 245


# ---- small mathematics


def _sigmoid(t: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * t))


def _gauss(t: np.ndarray, centre: float | np.ndarray, width: float) -> np.ndarray:
    return np.asarray(np.exp(-(((t - centre) / width) ** 2)))
