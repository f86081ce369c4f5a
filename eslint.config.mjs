// Rules for the page's scripts: they find what is wrong, not how it is laid out.
import { readFileSync } from "node:fs";

const BROWSER = `AbortController AbortSignal Blob CustomEvent DOMMatrix DataTransfer DecompressionStream Element Event File FormData
  ImageData MutationObserver NodeFilter Path2D ReadableStream Request ResizeObserver Response TextDecoder TextEncoder URL
  URLSearchParams WheelEvent atob clearInterval clearTimeout console devicePixelRatio document fetch history innerHeight
  location navigator requestAnimationFrame setInterval setTimeout window`.split(/\s+/);
const GRADIO = ["element", "props", "watch"]; // what Gradio gives to the script of a gr.HTML
const OF_VIEW = ["demo/view/labels.js", "demo/view/certainty.js", "demo/view/zoom.js", "demo/view/look.js"]; // view/component.py joins these with viewer.js

// The names that these scripts define for others.
function defined(files, pattern) {
  return files.flatMap((file) => [...readFileSync(file, "utf8").matchAll(pattern)].flatMap((found) => found[1].split(", ")));
}

const ofWindow = defined(["demo/texts.js", "demo/connection.js", "demo/link.js"], /^ *window\.(segcore\w+) =/gm);
const named = /^(?:async function|function|const) \[?([\w, ]+?)\]?(?: =|\()/gm;
const ofView = defined(OF_VIEW, named);
const readable = (...names) => Object.fromEntries(names.flat().map((name) => [name, "readonly"]));

export default [
  {
    files: ["demo/**/*.js"],
    languageOptions: { sourceType: "script", globals: readable(BROWSER, ofWindow) },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      eqeqeq: "error",
      "no-const-assign": "error",
      "no-dupe-else-if": "error",
      "no-dupe-keys": "error",
      "no-fallthrough": "error",
      "no-redeclare": "error",
      "no-self-assign": "error",
      "no-undef": "error",
      "no-unreachable": "error",
      "no-unused-vars": "error",
      "no-use-before-define": ["error", { functions: false, variables: false }],
      "no-var": "error",
      "prefer-const": "error",
    },
  },
  { files: OF_VIEW, rules: { "no-unused-vars": ["error", { vars: "local" }] } },
  { files: ["demo/view/certainty.js"], languageOptions: { globals: readable(defined(["demo/view/labels.js"], named)) } },
  { files: ["demo/view/overlap.js"], languageOptions: { globals: readable(["element"]) } },
  { files: ["demo/view/viewer.js"], languageOptions: { globals: readable(GRADIO, ofView) } },
];
