/**
 * The points in WebGL2: one buffer each for the place before and after a move, the colour, and the flags; one draw call
 * (two when there is a selection, so that selected points lie on top). The move itself runs on the graphics processor.
 *
 * Written here rather than taken from regl-scatterplot: regl builds its draw functions from text when the page runs
 * (`Function.apply(null, linkedNames.concat(src))` in regl/dist/regl.js), which needs the source 'unsafe-eval' that the
 * content security policy of the page leaves out.
 */
import { scaleOf } from "./camera";
import type { Cloud } from "./cloud";
import type { Frame, PointLayer } from "./layer";
import { FAINT_SHARE, SELECTED_GROWTH, newCanvas, parseColour, sizeCanvas } from "./layer";
import { FRAGMENT, VERTEX } from "./shaders";

const PLACE_BEFORE = 0;
const PLACE_AFTER = 1;
const COLOUR = 2;
const FLAGS = 3;
const NAMES = ["centre", "scale", "progress", "size", "ratio", "opacity", "pass", "growth", "faint", "background", "ink"] as const;
type Uniform = (typeof NAMES)[number];

const ALL = 0;
const UNSELECTED = 1;
const ONLY_SELECTED = 2;

interface Machine {
  program: WebGLProgram;
  at: Record<Uniform, WebGLUniformLocation | null>;
  before: WebGLBuffer;
  after: WebGLBuffer;
  colours: WebGLBuffer;
  flags: WebGLBuffer;
}

/** How long a lost context may take to come back before the map is drawn without it. */
const PATIENCE_MS = 2000;

interface Listeners {
  /** The context was lost and is back: everything has to be drawn again. */
  restored(): void;
  /** The context was lost and does not come back. */
  gone(): void;
}

export class WebGLPoints implements PointLayer {
  readonly kind = "webgl";
  readonly largestSide: number;
  private machine: Machine | null;
  private waiting = 0;
  /** Middle of the places, taken off before they become 32-bit numbers on the graphics processor. */
  private origin = { x: 0, y: 0 };

  private constructor(
    readonly canvas: HTMLCanvasElement,
    private readonly gl: WebGL2RenderingContext,
    private readonly cloud: Cloud,
    private readonly listeners: Listeners,
  ) {
    this.machine = build(gl);
    const [width, height] = gl.getParameter(gl.MAX_VIEWPORT_DIMS) as Int32Array;
    this.largestSide = Math.min(width, height, gl.getParameter(gl.MAX_RENDERBUFFER_SIZE) as number, 16384);
    canvas.addEventListener("webglcontextlost", this.lose);
    canvas.addEventListener("webglcontextrestored", this.restore);
  }

  /** The layer, or null where the browser gives no WebGL2 context. */
  static create(cloud: Cloud, listeners: Listeners): WebGLPoints | null {
    const canvas = newCanvas();
    const gl = canvas.getContext("webgl2", { alpha: true, premultipliedAlpha: true, antialias: false, depth: false, stencil: false });
    if (!gl || gl.isContextLost()) return null;
    const layer = new WebGLPoints(canvas, gl, cloud, listeners);
    return layer.machine ? layer : null;
  }

  private readonly lose = (event: Event): void => {
    event.preventDefault();
    this.machine = null;
    this.waiting = window.setTimeout(this.listeners.gone, PATIENCE_MS);
  };

  private readonly restore = (): void => {
    window.clearTimeout(this.waiting);
    this.machine = build(this.gl);
    if (!this.machine) return this.listeners.gone();
    Object.assign(this.cloud.stale, { places: true, colours: true, flags: true });
    this.listeners.restored();
  };

  draw(frame: Frame): void {
    const { gl, machine, cloud } = this;
    sizeCanvas(this.canvas, frame.size, frame.ratio);
    if (!machine || gl.isContextLost()) return;
    this.upload(machine);
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (cloud.n === 0) return;
    gl.useProgram(machine.program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.setUniforms(machine, frame);
    this.bind(machine, frame.stride);
    const count = Math.ceil(cloud.n / frame.stride);
    for (const pass of cloud.hasSelection ? [UNSELECTED, ONLY_SELECTED] : [ALL]) {
      gl.uniform1i(machine.at.pass, pass);
      gl.drawArrays(gl.POINTS, 0, count);
    }
  }

  private setUniforms({ at }: Machine, frame: Frame): void {
    const { gl, cloud } = this;
    const scale = scaleOf(frame.box, frame.size);
    gl.uniform2f(at.centre, frame.box.x - this.origin.x, frame.box.y - this.origin.y);
    gl.uniform2f(at.scale, (2 * scale) / frame.size.width, (2 * scale) / frame.size.height);
    gl.uniform1f(at.progress, cloud.progress);
    gl.uniform1f(at.size, frame.diameter * frame.ratio);
    gl.uniform1f(at.ratio, frame.ratio);
    gl.uniform1f(at.opacity, frame.opacity);
    gl.uniform1f(at.growth, SELECTED_GROWTH);
    gl.uniform4f(at.faint, ...parseColour(frame.theme.faint), FAINT_SHARE);
    gl.uniform3f(at.background, ...parseColour(frame.theme.background));
    gl.uniform3f(at.ink, ...parseColour(frame.theme.ink));
  }

  /** Every `stride`-th row, by stepping over the rows between in the same buffers. */
  private bind(machine: Machine, stride: number): void {
    const { gl } = this;
    const attach = (buffer: WebGLBuffer, at: number, size: number, type: number, bytes: number): void => {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(at);
      if (at === FLAGS) gl.vertexAttribIPointer(at, size, type, bytes * stride, 0);
      else gl.vertexAttribPointer(at, size, type, at === COLOUR, bytes * stride, 0);
    };
    attach(machine.before, PLACE_BEFORE, 2, gl.FLOAT, 8);
    attach(machine.after, PLACE_AFTER, 2, gl.FLOAT, 8);
    attach(machine.colours, COLOUR, 4, gl.UNSIGNED_BYTE, 4);
    attach(machine.flags, FLAGS, 1, gl.UNSIGNED_BYTE, 1);
  }

  private upload(machine: Machine): void {
    const { gl, cloud } = this;
    const put = (buffer: WebGLBuffer, data: Float32Array | Uint8Array): void => {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
    };
    if (cloud.stale.places) {
      const bounds = cloud.bounds();
      this.origin = bounds ? { x: (bounds.left + bounds.right) / 2, y: (bounds.bottom + bounds.top) / 2 } : { x: 0, y: 0 };
      put(machine.after, shifted(cloud.to, this.origin));
      put(machine.before, shifted(cloud.from, this.origin));
    }
    if (cloud.stale.colours) put(machine.colours, cloud.rgba);
    if (cloud.stale.flags) put(machine.flags, cloud.flags);
    Object.assign(cloud.stale, { places: false, colours: false, flags: false });
  }

  destroy(): void {
    window.clearTimeout(this.waiting);
    this.canvas.removeEventListener("webglcontextlost", this.lose);
    this.canvas.removeEventListener("webglcontextrestored", this.restore);
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
    this.machine = null;
    this.canvas.remove();
  }
}

function shifted(xy: Float32Array, origin: { x: number; y: number }): Float32Array {
  const out = new Float32Array(xy.length);
  for (let i = 0; i < xy.length; i += 2) {
    out[i] = xy[i] - origin.x;
    out[i + 1] = xy[i + 1] - origin.y;
  }
  return out;
}

function build(gl: WebGL2RenderingContext): Machine | null {
  const program = gl.createProgram();
  for (const [type, text] of [
    [gl.VERTEX_SHADER, VERTEX],
    [gl.FRAGMENT_SHADER, FRAGMENT],
  ] as const) {
    const shader = gl.createShader(type);
    if (!shader || !program) return null;
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
    if (!gl.isContextLost()) console.warn("The map is drawn without WebGL:", gl.getProgramInfoLog(program));
    return null;
  }
  const at = Object.fromEntries(NAMES.map((name) => [name, gl.getUniformLocation(program, `u_${name}`)])) as Machine["at"];
  return { program, at, before: gl.createBuffer(), after: gl.createBuffer(), colours: gl.createBuffer(), flags: gl.createBuffer() };
}
