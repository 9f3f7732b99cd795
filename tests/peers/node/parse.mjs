// Reads a JSON array of queries from standard input, and says of each whether Grafana's grammar takes it without an error node.
const { parser } = await import(`@grafana/lezer-${process.argv[2]}`);

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
