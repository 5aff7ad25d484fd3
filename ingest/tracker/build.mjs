// Builds the tracker: the core and each part as one file under built/, or under the folder that is named.
import { build } from "esbuild";
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const { version } = JSON.parse(readFileSync(join(here, "package.json"), "utf8"));
const parts = readdirSync(join(here, "src/parts")).map((name) => name.replace(/\.ts$/, ""));

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
  define: { VERSION: JSON.stringify(version) },
});
