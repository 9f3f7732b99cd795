{{- define "tael.name" -}}
{{- if contains "tael" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-tael" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* A third party's image, from global.imageRegistry where that is set. Takes root and image. */}}
{{- define "tael.thirdParty" -}}
{{- with .root.Values.global.imageRegistry }}{{ . }}/{{ regexReplaceAll "^[^/]*[.:][^/]*/" $.image "" }}{{ else }}{{ .image }}{{ end }}
{{- end }}

{{/* The suite's own image; the placeholder is refused with what makes one. */}}
{{- define "tael.image" -}}
{{- $image := .Values.image }}
{{- $registry := .Values.global.imageRegistry | default $image.registry }}
{{- $tag := $image.tag | default .Chart.AppVersion }}
{{- if not $image.repository }}
{{- fail (printf "image.repository is not set, and tael's image is published nowhere. Build and push one:\n  docker build -f deploy/Dockerfile --target tael -t REGISTRY/tael:%s .\n  docker push REGISTRY/tael:%s\nand install with --set image.repository=REGISTRY/tael" $tag $tag) }}
{{- end }}
{{- if eq $tag "latest" }}{{ fail "image.tag: latest is refused, because a restart could change the version; name one" }}{{ end }}
{{- with $registry }}{{ . }}/{{ end }}{{ $image.repository }}{{ with $image.digest }}@{{ . }}{{ else }}:{{ $tag }}{{ end }}
{{- end }}

{{/* Where NATS, ClickHouse and the object store are: this release's own in evaluation mode, else what the values name. */}}
{{- define "tael.backends" -}}
{{- $name := include "tael.name" . }}
{{- if .Values.evaluation.enabled }}
{{- if or .Values.nats.url .Values.clickhouse.urls .Values.s3.url }}{{ fail "nats.url, clickhouse.urls and s3.url are not used in evaluation mode: set evaluation.enabled=false with them" }}{{ end }}
natsUrl: ""
natsMonitorUrl: http://{{ $name }}-nats:8222
clickhouseUrls: http://{{ $name }}-clickhouse:8123
clickhouseUser: tael
s3Url: http://{{ $name }}-minio:9000
{{- else }}
{{- if not (and .Values.nats.url .Values.clickhouse.urls .Values.s3.url) }}{{ fail "evaluation.enabled=false needs nats.url, clickhouse.urls and s3.url" }}{{ end }}
natsUrl: {{ .Values.nats.url | quote }}
natsMonitorUrl: {{ .Values.nats.monitorUrl | quote }}
clickhouseUrls: {{ join "," .Values.clickhouse.urls | quote }}
clickhouseUser: {{ .Values.clickhouse.user | quote }}
s3Url: {{ .Values.s3.url | quote }}
{{- end }}
{{- end }}

{{/* The Secrets that every service reads, one name a line: the evaluation's own first, so that the user's win. */}}
{{- define "tael.secretNames" -}}
{{- if .Values.evaluation.enabled }}
{{ include "tael.name" . }}-evaluation
{{- end }}
{{- with include "tael.secret" . }}
{{ . }}
{{- end }}
{{- end }}

{{/* What those Secrets and the tokens hold, so that a rotation rolls the pods at the next upgrade. */}}
{{- define "tael.secretChecksum" -}}
{{- $found := list (toYaml .Values.secret) }}
{{- range compact (append (splitList "\n" (include "tael.secretNames" .)) .Values.tokens.existing) }}
{{- $found = append $found (toYaml (dig "data" dict (lookup "v1" "Secret" $.Release.Namespace .))) }}
{{- end }}
{{- join "\n" $found | sha256sum }}
{{- end }}

{{- define "tael.selector" -}}
app.kubernetes.io/name: tael
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .service }}
{{- end }}

{{- define "tael.labels" -}}
app.kubernetes.io/name: tael
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: tael
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "tael.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "tael.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "tael.secret" -}}
{{- if .Values.secret.existing }}{{ .Values.secret.existing }}{{ else if include "tael.secretValues" . }}{{ include "tael.name" . }}{{ end }}
{{- end }}

{{/* The variables of the chart's own Secret that are not empty. */}}
{{- define "tael.secretValues" -}}
{{- range $name, $value := .Values.secret.values }}{{ if $value }}
{{ $name }}: {{ $value | quote }}
{{- end }}{{ end }}
{{- end }}

{{/* A setting as text: quote alone would write 33554432, which Helm may hold as a float, as 3.3554432e+07. */}}
{{- define "tael.text" -}}
{{- if kindIs "string" . }}{{ . | quote }}{{ else }}{{ . | toJson | quote }}{{ end }}
{{- end }}

{{/* http, or https where the listeners have a certificate. */}}
{{- define "tael.scheme" -}}
http{{ if .Values.tls.existing }}s{{ end }}
{{- end }}

{{/* What every service is told. */}}
{{- define "tael.settings" -}}
{{- $backends := include "tael.backends" . | fromYaml }}
TAEL_CLUSTER_ID: {{ .Values.clusterId | quote }}
TAEL_LOG_FORMAT: json
TAEL_LOG_LEVEL: {{ .Values.logLevel }}
TAEL_INTERNAL_ADDR: 0.0.0.0:7700
TAEL_INTERNAL_OPEN: "true"
{{- with $backends.natsUrl }}
TAEL_NATS_URL: {{ . | quote }}
{{- end }}
{{- if .Values.nats.credentials.existing }}
{{- if .Values.evaluation.enabled }}{{ fail "nats.credentials is not for evaluation mode, whose NATS has a password of its own: set evaluation.enabled=false and nats.url" }}{{ end }}
TAEL_NATS_CREDS_FILE: /etc/tael/nats/{{ .Values.nats.credentials.key }}
{{- end }}
TAEL_NATS_MONITOR_URL: {{ $backends.natsMonitorUrl | quote }}
TAEL_WAL_REPLICAS: {{ .Values.wal.replicas | quote }}
TAEL_WAL_MAX_BYTES: {{ .Values.wal.maxBytes | quote }}
TAEL_CLICKHOUSE_URLS: {{ $backends.clickhouseUrls | quote }}
TAEL_CLICKHOUSE_DATABASE: {{ .Values.clickhouse.database | quote }}
TAEL_CLICKHOUSE_USER: {{ $backends.clickhouseUser | quote }}
TAEL_S3_URL: {{ $backends.s3Url | quote }}
TAEL_S3_BUCKET: {{ .Values.s3.bucket | quote }}
TAEL_S3_REGION: {{ .Values.s3.region | quote }}
{{- if eq .Values.s3.auth "role" }}
{{- if .Values.evaluation.enabled }}{{ fail "s3.auth=role is not for evaluation mode, whose MinIO has keys of its own" }}{{ end }}
TAEL_S3_AUTH: role
{{- end }}
TAEL_TRACE_RETENTION_DAYS: {{ .Values.retention.traceDays | quote }}
TAEL_LOG_RETENTION_DAYS: {{ .Values.retention.logDays | quote }}
TAEL_METRIC_RETENTION_DAYS: {{ .Values.retention.metricDays | quote }}
TAEL_OTLP_GRPC_ADDR: 0.0.0.0:4317
TAEL_OTLP_HTTP_ADDR: 0.0.0.0:4318
TAEL_DD_AGENT_ADDR: 0.0.0.0:8126
TAEL_REST_API_ADDR: 0.0.0.0:7701
TAEL_GRPC_API_ADDR: 0.0.0.0:7702
{{- if .Values.tls.existing }}
TAEL_TLS_CERT: /etc/tael/tls/tls.crt
TAEL_TLS_KEY: /etc/tael/tls/tls.key
{{- if .Values.tls.clientCa }}
TAEL_TLS_CLIENT_CA: /etc/tael/tls/ca.crt
{{- end }}
{{- else if .Values.tls.clientCa }}{{ fail "tls.clientCa needs tls.existing" }}
{{- end }}
{{- if .Values.trust.existing }}
{{- if .Values.evaluation.enabled }}
{{- fail "trust.existing is not for evaluation mode, whose NATS, ClickHouse and MinIO speak no TLS (the listeners do, by tls.existing). With your own backends:\n  --set evaluation.enabled=false --set nats.url=tls://NATS:4222\n  --set clickhouse.urls='{https://CLICKHOUSE:8443}' --set s3.url=https://S3" }}
{{- end }}
TAEL_CA_FILE: /etc/tael/trust/ca.crt
{{- if .Values.trust.clientCert }}
TAEL_CLIENT_CERT: /etc/tael/trust/tls.crt
TAEL_CLIENT_KEY: /etc/tael/trust/tls.key
{{- end }}
{{- else if .Values.trust.clientCert }}{{ fail "trust.clientCert needs trust.existing" }}
{{- end }}
{{- if .Values.tokens.existing }}
TAEL_TOKENS_FILE: /etc/tael/tokens/tokens
{{- else }}
# Pods have to listen on every address; without tokens it is the network's to keep strangers out.
TAEL_ALLOW_OPEN: "true"
{{- end }}
{{- end }}

{{/* A service's Deployment. Takes root, service, ports (a list of name and port). */}}
{{- define "tael.deployment" -}}
{{- $root := .root }}
{{- $values := index $root.Values .service }}
{{- $own := include "tael.settings" $root | fromYaml }}
{{- range $name, $_ := $values.settings }}
{{- if or (hasKey $own $name) (eq $name "TAEL_NATS_URL") }}{{ fail (printf "%s.settings.%s: the chart sets this variable itself; use the value that stands for it" $.service $name) }}{{ end }}
{{- end }}
{{- $drain := $values.settings.TAEL_DRAIN_SECS | default $root.Values.settings.TAEL_DRAIN_SECS | default 10 }}
{{- if and (eq .service "ingest") (lt (int $values.terminationGracePeriodSeconds) (add 15 (int $drain) | int)) }}
{{- fail (printf "ingest.terminationGracePeriodSeconds: %d is too short for TAEL_DRAIN_SECS=%d, 5 s before it and the writer's last batch behind it: %d or more" (int $values.terminationGracePeriodSeconds) (int $drain) (add 15 (int $drain))) }}
{{- end }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "tael.name" $root }}-{{ .service }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "tael.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .service }}
spec:
  {{- if not (dig "autoscaling" "enabled" false $values) }}
  replicas: {{ $values.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  strategy:
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  selector:
    matchLabels:
      {{- include "tael.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "tael.labels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ .service }}
        {{- with $root.Values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        checksum/settings: {{ include "tael.settings" $root | cat (toYaml $root.Values.settings) | sha256sum }}
        checksum/secret: {{ include "tael.secretChecksum" $root }}
        {{- with mergeOverwrite (deepCopy $root.Values.podAnnotations) ($values.podAnnotations | default dict) }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "tael.serviceAccount" $root }}
      automountServiceAccountToken: false
      # Kubernetes would otherwise add variables such as TAEL_QUERY_PORT, which are no settings and are refused as such.
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
      securityContext:
        {{- toYaml (mergeOverwrite (deepCopy $root.Values.podSecurityContext) ($values.podSecurityContext | default dict)) | nindent 8 }}
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.priorityClassName | default $root.Values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with concat $root.Values.initContainers ($values.initContainers | default list) }}
      initContainers:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .service }}
          image: {{ include "tael.image" $root | quote }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args: [{{ .service | quote }}]
          envFrom:
            - configMapRef: {name: {{ include "tael.name" $root }}}
            {{- range compact (splitList "\n" (include "tael.secretNames" $root)) }}
            - secretRef: {name: {{ . }}}
            {{- end }}
          env:
            # Pod names fit: the variable takes letters, digits, - and _, up to 64.
            - name: TAEL_NODE_ID
              valueFrom: {fieldRef: {fieldPath: metadata.name}}
            {{- range $name, $value := $values.settings }}
            - name: {{ $name }}
              value: {{ include "tael.text" $value }}
            {{- end }}
            {{- with concat $root.Values.extraEnv ($values.extraEnv | default list) }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          ports:
            {{- range .ports }}
            - name: {{ .name }}
              containerPort: {{ .port }}
            {{- end }}
            - name: internal
              containerPort: 7700
          startupProbe:
            {{- toYaml (mergeOverwrite (deepCopy $root.Values.probes.startup) (dig "probes" "startup" dict $values)) | nindent 12 }}
          livenessProbe:
            {{- toYaml (mergeOverwrite (deepCopy $root.Values.probes.liveness) (dig "probes" "liveness" dict $values)) | nindent 12 }}
          readinessProbe:
            {{- toYaml (mergeOverwrite (deepCopy $root.Values.probes.readiness) (dig "probes" "readiness" dict $values)) | nindent 12 }}
          # Endpoints forget a pod a little after it was told to stop; new calls must still find it listening until then.
          lifecycle:
            preStop:
              sleep: {seconds: 5}
          resources:
            {{- toYaml $values.resources | nindent 12 }}
          securityContext:
            {{- toYaml (mergeOverwrite (deepCopy $root.Values.securityContext) ($values.securityContext | default dict)) | nindent 12 }}
          volumeMounts:
            - name: tmp
              mountPath: /tmp
            {{- range $name := list "tokens" "tls" "trust" }}
            {{- if (index $root.Values $name).existing }}
            - name: {{ $name }}
              mountPath: /etc/tael/{{ $name }}
              readOnly: true
            {{- end }}
            {{- end }}
            {{- if $root.Values.nats.credentials.existing }}
            - name: nats
              mountPath: /etc/tael/nats
              readOnly: true
            {{- end }}
            {{- with concat $root.Values.extraVolumeMounts ($values.extraVolumeMounts | default list) }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        - name: tmp
          emptyDir: {sizeLimit: 256Mi}
        {{- range $name := list "tokens" "tls" "trust" }}
        {{- with (index $root.Values $name).existing }}
        - name: {{ $name }}
          secret: {secretName: {{ . }}, defaultMode: 0440}
        {{- end }}
        {{- end }}
        {{- with $root.Values.nats.credentials.existing }}
        - name: nats
          secret: {secretName: {{ . }}, defaultMode: 0440}
        {{- end }}
        {{- with concat $root.Values.extraVolumes ($values.extraVolumes | default list) }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      topologySpreadConstraints:
        {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
        - maxSkew: 1
          topologyKey: {{ . }}
          whenUnsatisfiable: ScheduleAnyway
          # Counted among the pods of one version: those that a rollout is about to end would otherwise push the new ones together.
          matchLabelKeys: [pod-template-hash]
          labelSelector:
            matchLabels:
              {{- include "tael.selector" $ | nindent 14 }}
        {{- end }}
      {{- with $values.nodeSelector | default $root.Values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.tolerations | default $root.Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.affinity | default $root.Values.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end }}

{{/* A service's Service. Takes root, service, ports (a list of name, port and appProtocol). */}}
{{- define "tael.service" -}}
{{- $values := index .root.Values .service }}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "tael.name" .root }}-{{ .service }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "tael.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .service }}
  {{- with dig "service" "annotations" dict $values }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ dig "service" "type" "ClusterIP" $values }}
  selector:
    {{- include "tael.selector" . | nindent 4 }}
  ports:
    {{- include "tael.ports" . | nindent 4 }}
{{- end }}

{{/* The ports of a Service. Takes root and ports (a list of name, port, protocol and, where it is not the name, target). */}}
{{- define "tael.ports" -}}
{{- range .ports }}
{{- $target := .target | default .name }}
- name: {{ .name }}
  port: {{ .port }}
  targetPort: {{ $target }}
  appProtocol: {{ if and $.root.Values.tls.existing (ne $target "internal") }}https{{ else }}{{ .protocol }}{{ end }}
{{- end }}
{{- end }}

{{/* A service's pods by DNS, each with its address. Takes root, service, name, ports, and unready: whether pods that are not ready are named too. */}}
{{- define "tael.headless" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "tael.name" .root }}-{{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "tael.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .service }}
spec:
  clusterIP: None
  {{- if .unready }}
  publishNotReadyAddresses: true
  {{- end }}
  selector:
    {{- include "tael.selector" . | nindent 4 }}
  ports:
    {{- include "tael.ports" . | nindent 4 }}
{{- end }}
