/** Programs of the graphics processor for round points with a smooth edge. */

export const VERTEX = `#version 300 es
precision highp float;
precision highp int;
layout(location = 0) in vec2 a_before;
layout(location = 1) in vec2 a_after;
layout(location = 2) in vec4 a_colour;
layout(location = 3) in uint a_flags;
uniform vec2 u_centre;
uniform vec2 u_scale;
uniform float u_progress;
uniform float u_size;
uniform float u_ratio;
uniform float u_opacity;
uniform float u_growth;
uniform vec4 u_faint;
uniform int u_pass;
out vec4 v_colour;
flat out float v_radius;
flat out float v_side;
flat out float v_halo;
void main() {
  bool isShown = (a_flags & 1u) != 0u;
  bool isSelected = (a_flags & 2u) != 0u;
  if (!isShown || (u_pass == 1 && isSelected) || (u_pass == 2 && !isSelected)) {
    gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
    gl_PointSize = 0.0;
    return;
  }
  vec2 place = u_progress >= 1.0 ? a_after : mix(a_before, a_after, u_progress);
  gl_Position = vec4((place - u_centre) * u_scale, 0.0, 1.0);
  float diameter = u_pass == 2 ? u_size * u_growth : u_size;
  v_halo = (a_flags & 4u) != 0u ? 1.0 : 0.0;
  v_radius = 0.5 * diameter;
  v_side = diameter + 2.0 + v_halo * 5.0 * u_ratio;
  gl_PointSize = v_side;
  float opacity = u_pass == 2 ? max(u_opacity, 0.85) : u_opacity;
  v_colour = vec4(a_colour.rgb, a_colour.a * opacity);
  if (u_pass == 1) v_colour = vec4(mix(a_colour.rgb, u_faint.rgb, 0.6), v_colour.a * u_faint.a);
}
`;

/** Disc, with a thin rim in the colour of the background once it is large enough, and a ring around it for the halo. */
export const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
in vec4 v_colour;
flat in float v_radius;
flat in float v_side;
flat in float v_halo;
uniform float u_ratio;
uniform vec3 u_background;
uniform vec3 u_ink;
uniform int u_pass;
out vec4 colour;
void main() {
  float away = length(gl_PointCoord - 0.5) * v_side;
  float disc = clamp(v_radius + 0.5 - away, 0.0, 1.0);
  float rim = v_radius > 2.5 * u_ratio ? clamp(away - v_radius + 1.0 * u_ratio, 0.0, 1.0) * 0.75 : 0.0;
  float alpha = disc * v_colour.a;
  colour = vec4(mix(v_colour.rgb, u_background, rim) * alpha, alpha);
  if (v_halo > 0.5) {
    float ring = clamp(0.6 * u_ratio + 0.5 - abs(away - v_radius - 1.4 * u_ratio), 0.0, 1.0) * (u_pass == 1 ? 0.16 : 0.85);
    colour = mix(colour, vec4(u_ink, 1.0), ring);
  }
}
`;
