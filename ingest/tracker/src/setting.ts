// What the script tag says.

export const tag = (document.currentScript ||
  document.querySelector("script[data-key][src*=footfall]")) as HTMLScriptElement;

const said = tag.dataset;

/** The folder that holds this script and its parts; the collector's address is its origin. */
export const base = new URL(".", tag.src).href;
export const host = said.host || new URL(base).origin;
export const key = said.key || "";
export const parts = (said.parts ?? "clicks friction errors outline forms").split(/[\s,]+/).filter(Boolean);
export const withHash = "hash" in said;
export const release = said.release;
export const storageKind = said.storage || "local";
export const onSignal = said.consent || "anonymise";

/** What the browser asks for: Global Privacy Control, Do Not Track. */
const asks = navigator as Navigator & { globalPrivacyControl?: boolean };
export const signals = {
  ...(asks.globalPrivacyControl && { gpc: true }),
  ...(asks.doNotTrack === "1" && { dnt: true }),
};
