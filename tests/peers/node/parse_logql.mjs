// Reads a JSON array of queries from standard input, and says of each whether Grafana's LogQL grammar takes it without an error node.
import { parser } from "@grafana/lezer-logql";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const accepted = (query) => {
  let sound = true;
  parser.parse(query).iterate({
    enter: (node) => {
      if (node.type.isError) sound = false;
    },
  });
  return sound;
};
console.log(JSON.stringify(JSON.parse(Buffer.concat(chunks).toString()).map(accepted)));
