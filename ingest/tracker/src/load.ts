// How parts are loaded.
import { safe } from "./safe";
import { base, tag } from "./setting";

// Clicks are told by the core: that part is always there.
const loading: Record<string, Promise<unknown> | true> = { clicks: true };

/** Where the part cannot be loaded, the page goes on without it: errors, as with Trusted Types, end here. */
export const load = (name: string): unknown =>
  (loading[name] ||= new Promise((done) =>
    document.head.append(
      Object.assign(document.createElement("script"), {
        nonce: tag.nonce,
        onload: done,
        onerror: done,
        src: `${base}footfall.${name}.js`,
      }),
    ),
  ).catch(() => {}));

/** A method that a part brings. */
export const later = (part: string, method: string) => async (...given: unknown[]): Promise<unknown> => {
  await load(part);
  return safe(window.footfall._[method] as (...given: unknown[]) => unknown)(...given);
};
