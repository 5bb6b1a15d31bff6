/** The page as it stands alone: on a server, on a static host, or as one file. */

import { HttpSource, InlineSource } from "./source";
import { mount } from "./mount";

const element = document.getElementById("zatlas");
if (element) void mount(element, InlineSource.isThere() ? new InlineSource() : new HttpSource(), { usesHash: true });
