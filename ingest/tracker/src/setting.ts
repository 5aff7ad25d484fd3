// What the script tag says.

export const tag = (document.currentScript ||
  document.querySelector("script[data-key]")) as HTMLScriptElement;

export const said = tag.dataset;

/** The folder that holds this script and its parts; the collector's address is its origin. */
export const base = new URL(".", tag.src);
export const key = said.key || "";
export const parts: string[] = (said.parts ?? "clicks friction errors outline forms").match(/\w+/g) || [];

/** What the browser asks for: Global Privacy Control, Do Not Track. */
export const signals = {
  gpc: (navigator as Navigator & { globalPrivacyControl?: boolean }).globalPrivacyControl || undefined,
  dnt: navigator.doNotTrack === "1" || undefined,
};
