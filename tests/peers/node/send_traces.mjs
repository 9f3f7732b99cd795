// Two spans with all that the SDK has, over one protocol: node send_traces.mjs http/json|http/protobuf|grpc ENDPOINT
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { OTLPTraceExporter as Grpc } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as Json } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as Protobuf } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';

const [protocol, endpoint, service, compression] = process.argv.slice(2);
const exporters = { 'http/json': Json, 'http/protobuf': Protobuf, grpc: Grpc };
const url = protocol === 'grpc' ? endpoint : `${endpoint}/v1/traces`;
const exporter = new exporters[protocol]({ url, compression });
const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ 'service.name': service, ports: [80, 443] }),
  spanProcessors: [new BatchSpanProcessor(exporter)],
});
const tracer = provider.getTracer('peers', '1.2', { schemaUrl: 'https://opentelemetry.io/schemas/1.40.0' });
const root = tracer.startSpan(
  'GET /cart',
  { kind: SpanKind.SERVER, attributes: { text: 'grüße', int: 42, double: 0.5, on: true, list: ['a', 'b'] } },
  ROOT_CONTEXT,
);
root.addEvent('paid', { amount: 3 });
const child = tracer.startSpan('pay', { links: [{ context: root.spanContext(), attributes: { why: 'test' } }] }, trace.setSpan(ROOT_CONTEXT, root));
child.setStatus({ code: SpanStatusCode.ERROR, message: 'card declined' });
child.end();
root.end();
await provider.forceFlush();
await provider.shutdown();
console.log(JSON.stringify({ trace_id: root.spanContext().traceId, root: root.spanContext().spanId, child: child.spanContext().spanId }));
