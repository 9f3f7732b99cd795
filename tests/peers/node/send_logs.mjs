// Two log records, one within a span: node send_logs.mjs http/json|http/protobuf ENDPOINT SERVICE COMPRESSION
import { ROOT_CONTEXT, TraceFlags, trace } from '@opentelemetry/api';
import { SeverityNumber } from '@opentelemetry/api-logs';
import { OTLPLogExporter as Json } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter as Protobuf } from '@opentelemetry/exporter-logs-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';

const [protocol, endpoint, service, compression] = process.argv.slice(2);
const exporter = new { 'http/json': Json, 'http/protobuf': Protobuf }[protocol]({ url: `${endpoint}/v1/logs`, compression });
const provider = new LoggerProvider({
  resource: resourceFromAttributes({ 'service.name': service, ports: [80, 443] }),
  processors: [new BatchLogRecordProcessor({ exporter })],
});
const logger = provider.getLogger('peers', '1.2');
const at = Date.now() - 5001;
const span = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: TraceFlags.SAMPLED };
logger.emit({
  timestamp: at,
  severityNumber: SeverityNumber.WARN,
  severityText: 'WARN',
  body: 'the queue grüßt',
  attributes: { int: 42, double: 0.5, on: true, list: ['a', 'b'] },
  context: trace.setSpan(ROOT_CONTEXT, trace.wrapSpanContext(span)),
});
logger.emit({ body: { order: { id: 7, items: ['x', 1.5] } }, eventName: 'order.placed' });
await provider.forceFlush();
await provider.shutdown();
console.log(JSON.stringify({ trace_id: span.traceId, span_id: span.spanId, at_ns: at * 1e6 }));
