/** The figure of a map: SVG for print and change, PNG for slides. */

import { mapSvg, type MapFigure } from "./figureSvg";

export { mapSvg, type MapFigure } from "./figureSvg";

const WIDTH_MM = 180;
const MM_PER_INCH = 25.4;

/** The figure as a picture; drawn from the SVG, so both are the same. */
export async function mapFigure(figure: MapFigure, dotsPerInch = 300): Promise<HTMLCanvasElement> {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(mapSvg(figure))}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = Math.round((WIDTH_MM / MM_PER_INCH) * dotsPerInch);
  canvas.height = Math.round((canvas.width * image.naturalHeight) / image.naturalWidth);
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("this browser gives no canvas to draw on");
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas;
}
