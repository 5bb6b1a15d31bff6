/** What `data/manifest.json` says: the contract between the bundle that Python writes and this page. */

export const SCHEMA_VERSION = 1;

export interface BundleFile {
  /** Relative to `data/`. */
  path: string;
  dtype: "f32" | "u8" | "u16" | "u32" | "json" | "webp" | "onnx";
  shape: number[];
  bytes: number;
  sha256: string;
}

/** One value per image: codes of categories (all bits set: missing) or numbers (NaN: missing). */
export interface ColumnInfo {
  name: string;
  title: string;
  kind: "category" | "number";
  file: BundleFile;
  categories?: string[];
  unit?: string;
  description?: string;
}

/** Square pictures on sheets: image i is cell i % per_sheet of sheet floor(i / per_sheet), cells in reading order. */
export interface SheetsInfo {
  size_px: number;
  columns: number;
  per_sheet: number;
  lossless: boolean;
  files: BundleFile[];
}

export interface ProjectionInfo {
  name: string;
  title: string;
  file: BundleFile;
  axes: string[];
  note: string;
  has_inverse: boolean;
}

export interface CorrelationInfo {
  column: string;
  r: number;
  kind: "spearman" | "eta";
  low: number | null;
  high: number | null;
  n: number;
}

export interface DimensionInfo {
  dim: number;
  rate_nats: number;
  is_active: boolean;
  mean: number;
  sd: number;
  min: number;
  max: number;
  histogram: { low: number; high: number; counts: number[] };
  reason: string;
  correlations: CorrelationInfo[];
}

export interface ClusterInfo {
  cluster: number;
  size: number;
  share: number;
  central: number[];
  random: number[];
  borderline: number[];
  counts: { column: string; values: { value: string; n: number; expected: number }[] }[];
}

export interface NetInfo {
  file: BundleFile;
  sha256: string;
  inputs: string[];
  outputs: string[];
  multiply_adds: number;
  live: "live" | "on release" | "server";
  words: string;
  max_abs_difference: number;
  n_checked: number;
  /** Of a decoder that draws texture: the noise of draw 1. */
  noise?: BundleFile;
}

export interface SupportInfo {
  k: number;
  dims: number[];
  within: number;
  near: number;
  quantiles: number[];
  words: string;
}

/** A path that the study itself took: from the image lowest on an axis to the one highest on it. */
export interface StudyPath {
  name: string;
  axis_kind: string;
  start_row: number;
  end_row: number;
  note: string;
}

export interface ModelInfo {
  name: string;
  latent_dim: number;
  likelihood: string;
  /** "standard", "mixture", "vamp" or "flow"; missing in bundles of 0.1.0, which knew the first alone. */
  prior?: string;
  /** Of a model with local latents: how many, and what each level says about an image (side 0: z). */
  local?: { n_values: number; levels: { side: number; rate_nats: number }[] } | null;
  beta: number;
  effective_beta: number | null;
  n_parameters: number;
  mean: BundleFile;
  log_var: BundleFile;
  columns: ColumnInfo[];
  projections: ProjectionInfo[];
  pca: { mean: number[]; components: number[][]; sd: number[]; explained_ratio: number[] };
  knn: { k: number; rows: BundleFile; distances: BundleFile };
  support: SupportInfo;
  dimensions: DimensionInfo[];
  /** `verdict`: "clusters", "continuum" or ""; bundles of 0.1.0 have it in the words of `text` alone. */
  clusters: { k: number; silhouette: number | null; stability: number | null; verdict?: string; text: string; items: ClusterInfo[] };
  walks: StudyPath[];
  decoder: NetInfo | null;
  encoder: NetInfo | null;
  metrics: Record<string, Record<string, number | null>>;
  history: Record<string, (number | null)[]>;
  mismatch: { kl_nats: number | null; auc: number | null };
}

export interface ComparisonInfo {
  table: Record<string, number | string | null>[];
  cluster_matches: { a: string; b: string; ari: number; share: number; mapping: Record<string, number> }[];
  neighbour_overlap: { names: string[]; values: (number | null)[][] };
  map_similarity: Record<string, number | string | null>[];
}

export interface RunInfo {
  command: string[];
  seed: number;
  environment: Record<string, string>;
  fingerprint: string;
  split: { counts: Record<string, number>; reason: string; warnings: string[] };
  training: Record<string, Record<string, unknown>>;
  config: Record<string, Record<string, unknown> | unknown>;
  data: string;
  is_synthetic: boolean;
}

export interface Manifest {
  schema_version: number;
  title: string;
  zatlas: string;
  atlas_hash: string;
  privacy: { level: "originals" | "thumbnails" | "latents"; words: string; contains: string[] };
  images: {
    n: number;
    side_px: number;
    channels: number;
    is_tiled: boolean;
    unit: string;
    scaling: { kind: string; offset: number; factor: number };
    display: { low: number; high: number };
  };
  names: BundleFile;
  columns: ColumnInfo[];
  thumbnails: SheetsInfo | null;
  originals: SheetsInfo | null;
  models: ModelInfo[];
  comparison: ComparisonInfo | null;
  run: RunInfo;
  files: Record<string, { bytes: number; sha256: string }>;
  /** Added by the local server and the notebook to what they hand out: what they can do besides. */
  server?: { decode: boolean; images: boolean };
}
