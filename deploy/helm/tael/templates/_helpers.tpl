{{- define "tael.name" -}}
{{- if contains "tael" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-tael" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
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

{{/* What every service is told. */}}
{{- define "tael.settings" -}}
TAEL_CLUSTER_ID: {{ .Values.clusterId | quote }}
TAEL_LOG_FORMAT: json
TAEL_LOG_LEVEL: {{ .Values.logLevel }}
TAEL_INTERNAL_ADDR: 0.0.0.0:7700
TAEL_INTERNAL_OPEN: "true"
TAEL_NATS_URL: {{ .Values.nats.url | quote }}
TAEL_NATS_MONITOR_URL: {{ .Values.nats.monitorUrl | quote }}
TAEL_WAL_REPLICAS: {{ .Values.wal.replicas | quote }}
TAEL_WAL_MAX_BYTES: {{ .Values.wal.maxBytes | quote }}
TAEL_CLICKHOUSE_URLS: {{ join "," .Values.clickhouse.urls | quote }}
TAEL_CLICKHOUSE_DATABASE: {{ .Values.clickhouse.database | quote }}
TAEL_CLICKHOUSE_USER: {{ .Values.clickhouse.user | quote }}
TAEL_S3_URL: {{ .Values.s3.url | quote }}
TAEL_S3_BUCKET: {{ .Values.s3.bucket | quote }}
TAEL_S3_REGION: {{ .Values.s3.region | quote }}
TAEL_OTLP_GRPC_ADDR: 0.0.0.0:4317
TAEL_OTLP_HTTP_ADDR: 0.0.0.0:4318
TAEL_DD_AGENT_ADDR: 0.0.0.0:8126
TAEL_REST_API_ADDR: 0.0.0.0:7701
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
{{- if eq $root.Values.image.tag "latest" }}{{ fail "image.tag: latest is refused, because a restart could change the version; name one" }}{{ end }}
{{- range $name, $_ := $values.settings }}
{{- if hasKey $own $name }}{{ fail (printf "%s.settings.%s: the chart sets this variable itself; use the value that stands for it" $.service $name) }}{{ end }}
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
        checksum/secret: {{ toYaml $root.Values.secret | sha256sum }}
        {{- with $root.Values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "tael.serviceAccount" $root }}
      automountServiceAccountToken: false
      # Kubernetes would otherwise add variables such as TAEL_QUERY_PORT, which are no settings and are refused as such.
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        fsGroup: 10001
        seccompProfile: {type: RuntimeDefault}
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      containers:
        - name: {{ .service }}
          image: "{{ $root.Values.image.repository }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}"
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args: [{{ .service | quote }}]
          envFrom:
            - configMapRef: {name: {{ include "tael.name" $root }}}
            {{- with include "tael.secret" $root }}
            - secretRef: {name: {{ . }}}
            {{- end }}
          env:
            # Pod names fit: the variable takes letters, digits, - and _, up to 64.
            - name: TAEL_NODE_ID
              valueFrom: {fieldRef: {fieldPath: metadata.name}}
            {{- range $name, $value := $values.settings }}
            - name: {{ $name }}
              value: {{ $value | quote }}
            {{- end }}
          ports:
            {{- range .ports }}
            - name: {{ .name }}
              containerPort: {{ .port }}
            {{- end }}
            - name: internal
              containerPort: 7700
          startupProbe:
            httpGet: {path: /healthz, port: internal}
            periodSeconds: 2
            failureThreshold: 90
          livenessProbe:
            httpGet: {path: /healthz, port: internal}
            periodSeconds: 10
            timeoutSeconds: 3
            failureThreshold: 6
          readinessProbe:
            httpGet: {path: /readyz, port: internal}
            periodSeconds: 3
            timeoutSeconds: 3
            failureThreshold: 2
          # Endpoints forget a pod a little after it was told to stop; new calls must still find it listening until then.
          lifecycle:
            preStop:
              sleep: {seconds: 5}
          resources:
            {{- toYaml $values.resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          volumeMounts:
            - name: tmp
              mountPath: /tmp
            {{- if $root.Values.tokens.existing }}
            - name: tokens
              mountPath: /etc/tael/tokens
              readOnly: true
            {{- end }}
      volumes:
        - name: tmp
          emptyDir: {sizeLimit: 256Mi}
        {{- with $root.Values.tokens.existing }}
        - name: tokens
          secret: {secretName: {{ . }}, defaultMode: 0440}
        {{- end }}
      topologySpreadConstraints:
        {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
        - maxSkew: 1
          topologyKey: {{ . }}
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "tael.selector" $ | nindent 14 }}
        {{- end }}
      {{- with $root.Values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $root.Values.affinity }}
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
    {{- range .ports }}
    - name: {{ .name }}
      port: {{ .port }}
      targetPort: {{ .name }}
      appProtocol: {{ .protocol }}
    {{- end }}
{{- end }}
