/** The frame of the page: head with tabs, the tab in view, foot; theme, keys and help. */

import type { ComponentType } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { useApp, useModel, useModelInfo, usePart } from "./app";
import { switchModel } from "./act";
import { Help } from "./Help";
import { useKeys } from "./keys";
import { Icon } from "./parts/Icon";
import { isNotebookDark, onNotebookTheme } from "./notebook";
import { copyText } from "./save/share";
import type { Tab, Theme } from "./store";
import { TABS } from "./store";
import { Explore } from "./tabs/Explore";
import { Clusters } from "./tabs/Clusters";
import { Dimensions } from "./tabs/Dimensions";
import { Models } from "./tabs/Models";
import { Paths } from "./tabs/Paths";
import { Run } from "./tabs/Run";
import { toHash } from "./url";
import { clusterTitle } from "./verdict";

const TITLES: Record<Exclude<Tab, "clusters">, string> = {
  explore: "Explore",
  paths: "Paths",
  dimensions: "Dimensions",
  models: "Models",
  run: "Run",
};
const PANELS: Record<Tab, ComponentType> = { explore: Explore, paths: Paths, clusters: Clusters, dimensions: Dimensions, models: Models, run: Run };

export function Shell({ warning }: { warning: string }) {
  const app = useApp();
  const tab = usePart((state) => state.tab);
  const model = useModel();
  const [isHelpOpen, setHelpOpen] = useState(false);
  const [isWarned, setWarned] = useState(warning !== "");
  useTheme();
  useKeys({ openHelp: () => setHelpOpen(true), isHelpOpen });
  const Panel = PANELS[tab];
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => skipTo(event, app.element)}>
        Skip to the atlas
      </a>
      <Head onHelp={() => setHelpOpen(true)} />
      {isWarned && (
        <p class="message problem banner" role="alert">
          {warning} <button type="button" onClick={() => setWarned(false)}>Close</button>
        </p>
      )}
      <main id="main" class={`tab-${tab}`} tabIndex={-1}>
        <div id="panel" class="tab-panel" role="tabpanel" aria-labelledby={`tab-${tab}`}>
          {model === null ? <p class="loading">Reading the model …</p> : <Panel />}
        </div>
      </main>
      <Foot />
      <div class="visually-hidden" role="status" aria-live="polite" data-announcer />
      {isHelpOpen && <Help onClose={() => setHelpOpen(false)} />}
    </>
  );
}

function skipTo(event: Event, element: HTMLElement): void {
  event.preventDefault();
  element.querySelector<HTMLElement>("main")?.focus();
}

function Head({ onHelp }: { onHelp: () => void }) {
  const { atlas, store } = useApp();
  const { source } = atlas;
  const title = atlas.manifest.title || atlas.manifest.run.data;
  const canUndo = usePart(() => store.canUndo);
  const canRedo = usePart(() => store.canRedo);
  return (
    <header class="head">
      <h1 title={title}>
        <span class="brand">zatlas</span> {title}
      </h1>
      <ModelChoice />
      <Tabs />
      <div class="row tools">
        <button type="button" class="quiet" disabled={!canUndo} onClick={store.undo} title="Undo (Ctrl+Z)" aria-label="Undo">
          <Icon name="undo" />
        </button>
        <button type="button" class="quiet" disabled={!canRedo} onClick={store.redo} title="Redo (Ctrl+Shift+Z)" aria-label="Redo">
          <Icon name="redo" />
        </button>
        {source.kind !== "notebook" && <CopyLink />}
        <ThemeChoice />
        <button type="button" class="quiet" onClick={onHelp} title="Keys and help (?)" aria-label="Keys and help">
          ?
        </button>
      </div>
    </header>
  );
}

function ModelChoice() {
  const app = useApp();
  const name = usePart((state) => state.model);
  const { models } = app.atlas.manifest;
  const [problem, setProblem] = useState("");
  const choose = (wanted: string) => switchModel(app, wanted).then(() => setProblem(""), (error: Error) => setProblem(error.message));
  return (
    <label class="model-choice">
      <span class="small soft">Model</span>
      <select value={name} onChange={(event) => void choose(event.currentTarget.value)} disabled={models.length < 2}>
        {models.map((model) => (
          <option key={model.name} value={model.name}>
            {model.name}
          </option>
        ))}
      </select>
      {problem && <span role="alert">{problem}</span>}
    </label>
  );
}

function Tabs() {
  const { store } = useApp();
  const current = usePart((state) => state.tab);
  const info = useModelInfo();
  const list = useRef<HTMLDivElement>(null);
  const go = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = TABS[(TABS.indexOf(current) + step + TABS.length) % TABS.length];
    store.set({ tab: next });
    list.current?.querySelector<HTMLElement>(`#tab-${next}`)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label="Views of the atlas" ref={list} onKeyDown={go}>
      {TABS.map((tab) => (
        <button
          key={tab}
          id={`tab-${tab}`}
          type="button"
          role="tab"
          aria-selected={tab === current}
          aria-controls="panel"
          tabIndex={tab === current ? 0 : -1}
          onClick={() => store.set({ tab })}
        >
          {tab === "clusters" ? clusterTitle([info]) : TITLES[tab]}
        </button>
      ))}
    </div>
  );
}

function CopyLink() {
  const app = useApp();
  const [said, setSaid] = useState("");
  const copy = async () => {
    const { hash, isWhole } = await toHash(app.store.get(), app.atlas.manifest.atlas_hash);
    const link = `${location.href.split("#")[0]}${hash}`;
    const isCopied = await copyText(link, app.element);
    setSaid(!isCopied ? "" : isWhole ? "Link copied" : "Link copied without the selection, which is too large for a link");
    app.announce(isWhole ? "link copied" : "link copied without the selection");
    setTimeout(() => setSaid(""), 4000);
  };
  return (
    <button type="button" class="quiet" onClick={() => void copy()} title="Copy a link to exactly this view (C)" data-copy-link>
      <Icon name="link" /> {said || "Copy link"}
    </button>
  );
}

function ThemeChoice() {
  const { store, atlas } = useApp();
  const theme = usePart((state) => state.theme);
  return (
    <label>
      <span class="visually-hidden">Theme</span>
      <select class="quiet" value={theme} title="Theme (D)" onChange={(event) => store.set({ theme: event.currentTarget.value as Theme })}>
        <option value="system">{atlas.source.kind === "notebook" ? "Notebook" : "System"}</option>
        <option value="light">Light</option>
        <option value="dark">Dark</option>
      </select>
    </label>
  );
}

/** Light or dark on the page's element, following the system, or the notebook around the page, when asked to. */
function useTheme(): void {
  const { element, atlas } = useApp();
  const isInNotebook = atlas.source.kind === "notebook";
  const theme = usePart((state) => state.theme);
  useEffect(() => {
    const isDark = matchMedia("(prefers-color-scheme: dark)");
    const apply = () => {
      const isSystemDark = (isInNotebook ? isNotebookDark() : null) ?? isDark.matches;
      element.dataset.theme = theme === "system" ? (isSystemDark ? "dark" : "light") : theme;
    };
    apply();
    isDark.addEventListener("change", apply);
    const stop = isInNotebook ? onNotebookTheme(apply) : () => undefined;
    return () => {
      isDark.removeEventListener("change", apply);
      stop();
    };
  }, [theme, element, isInNotebook]);
}

function Foot() {
  const { atlas } = useApp();
  const { manifest } = atlas;
  return (
    <footer class="foot small soft">
      <span>
        {atlas.n.toLocaleString("en")} {manifest.images.is_tiled ? "tiles" : "images"}, {manifest.images.side_px} px
        {manifest.run.is_synthetic ? ", synthetic: nothing here is a patient or an animal" : ""}
      </span>
      <span>{manifest.privacy.words}</span>
      <span>For research. Not a medical device.</span>
      <span>
        zatlas {manifest.zatlas}, atlas {manifest.atlas_hash.slice(0, 12)}
      </span>
    </footer>
  );
}
