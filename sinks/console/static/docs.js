// The API's documentation: the OpenAPI document, rendered.
import { address } from "/api.js";
import { byId, make, onLook, page, t, wireLook } from "/page.js";
import { TEXTS, TYPES } from "/docs-words.js";

const api = await (await fetch(address("openapi.json"))).json();
const resolve = (schema) => (schema.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema);

/** A text of the document in the page's language, as it is where nobody has translated it. */
function said(text = "") {
  const plain = text.replace(/\s+/g, " ").trim();
  return page.language === "zh" ? (TEXTS[plain] ?? plain) : plain;
}
const sentences = (summary, more) => said(summary) + (page.language === "zh" ? "。" : ". ") + said(more);
const type = (name) => (page.language === "zh" ? (TYPES[name] ?? name) : name);

/** A schema in a few words: "integer 1–100", "Row[]", "one of: day, hour". */
function words(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(words).join(" | ");
  if (schema.type === "array") return schema.items.enum ? words(schema.items) : `${words(schema.items)}[]`;
  if (schema.enum) return schema.enum.join(" · ");
  if (schema.type === "object" && schema.additionalProperties?.type) return `{…: ${words(schema.additionalProperties)}}`;
  const bounds = schema.minimum !== undefined ? ` ${schema.minimum}–${schema.maximum}` : "";
  return `${type(schema.format ?? schema.type ?? "any")}${bounds}`;
}

const table = (label, head, rows) =>
  make(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    make(
      "table",
      {},
      make("thead", {}, make("tr", {}, ...head.map((cell) => make("th", { scope: "col" }, cell)))),
      make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, cell))))),
    ),
  );

/** The types that a schema leads to, each once. */
function reached(schema, found = new Map()) {
  for (const reference of JSON.stringify(schema).match(/#\/components\/schemas\/\w+/g) ?? []) {
    const name = reference.split("/").pop();
    if (!found.has(name)) {
      found.set(name, api.components.schemas[name]);
      reached(api.components.schemas[name], found);
    }
  }
  return found;
}

function operation(path, { summary, description, parameters = [], responses }) {
  const needed = parameters.filter((one) => one.required).map((one) => `${one.name}=${resolve(one.schema).enum?.[0] ?? ""}`);
  const example = path + (needed.length ? `?${needed.join("&")}` : "");
  const [[media, { schema }], ...others] = Object.entries(responses["200"].content);
  const parts = [make("h2", { id: path }, make("code", {}, `GET ${path}`)), make("p", {}, sentences(summary, description))];
  if (parameters.length) {
    parts.push(
      make("h3", {}, t("parameters")),
      table(`${path}: ${t("parameters")}`, [t("name"), t("type"), t("meaning")], parameters.map((one) => {
        const more = one.required ? ` (${t("required")})` : one.schema.default !== undefined ? ` (${t("default")}: ${JSON.stringify(one.schema.default)})` : "";
        return [make("code", {}, one.name), words(one.schema), said(one.description) + more];
      })),
    );
  }
  parts.push(make("h3", {}, `${t("answer")}: ${media} ${words(schema)}`));
  for (const [name, shape] of reached(schema)) {
    parts.push(
      make("p", { class: "note" }, make("b", {}, name), ` ${said(shape.description)}`),
      table(name, [t("name"), t("type")], Object.entries(shape.properties ?? {}).map(([field, kind]) => [make("code", {}, field), words(kind)])),
    );
  }
  if (others.length) parts.push(make("p", { class: "note" }, `${t("also")}: ${others.map(([one]) => one).join(", ")}`));
  parts.push(make("h3", {}, t("example")), make("pre", {}, `curl -sS '${location.origin}${example}'`));
  return make("section", { "aria-labelledby": path }, ...parts);
}

onLook(() => byId("main").replaceChildren(make("p", {}, said(api.info.description)), ...Object.entries(api.paths).map(([path, { get }]) => operation(path, get))));
wireLook();
