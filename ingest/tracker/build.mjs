// Builds the tracker: the core and each part as one file under built/, or under the folder that is named.
import { build } from "esbuild";
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const { version } = JSON.parse(readFileSync(join(here, "package.json"), "utf8"));
const parts = readdirSync(join(here, "src/parts")).map((name) => name.replace(/\.ts$/, ""));
// What the core and its parts call each other, by one letter in the order of this list: see src/door.ts. A browser may
// hold a core and a part of different builds for an hour, so a new name goes to the end.
const door = (
  "track listen safe newId anonymousId selectorOf isFixed read write remove names mine fitting send early data on"
).split(" ");

await build({
  absWorkingDir: here,
  entryPoints: [
    { in: "src/core.ts", out: "footfall" },
    ...parts.map((name) => ({ in: `src/parts/${name}.ts`, out: `footfall.${name}` })),
  ],
  outdir: process.argv[2] || "built",
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2020",
  charset: "utf8",
  legalComments: "none",
  tsconfigRaw: {}, // no "use strict" in every file
  mangleProps: /[a-z]_$/i,
  mangleCache: Object.fromEntries(door.map((name, n) => [name + "_", (n + 10).toString(36)])),
  define: { VERSION: JSON.stringify(version) },
});
