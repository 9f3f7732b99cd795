// A counter, a gauge and a histogram: node send_metrics.mjs http/json|http/protobuf ENDPOINT SERVICE COMPRESSION
import { OTLPMetricExporter as Json } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter as Protobuf } from '@opentelemetry/exporter-metrics-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';

const [protocol, endpoint, service, compression] = process.argv.slice(2);
const exporter = new { 'http/json': Json, 'http/protobuf': Protobuf }[protocol]({ url: `${endpoint}/v1/metrics`, compression });
const provider = new MeterProvider({
  resource: resourceFromAttributes({ 'service.name': service, 'service.instance.id': 'one', 'host.name': 'n1' }),
  readers: [new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 60_000 })],
});
const meter = provider.getMeter('peers', '1.2');
meter.createCounter('peers.requests', { description: 'Requests.' }).add(3, { route: '/cart' });
meter.createGauge('peers.temperature', { unit: 'Cel' }).record(21.5);
const sizes = meter.createHistogram('peers.size', { unit: 'By', advice: { explicitBucketBoundaries: [10, 100] } });
for (const size of [5, 50, 500]) sizes.record(size);
await provider.forceFlush();
await provider.shutdown();
console.log(JSON.stringify({}));
