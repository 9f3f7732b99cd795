{{/*
A StatefulSet of one pod with its headless Service. Takes root, component, ports (name: number), uid, data (where its volume is), args,
env (variable: key of the evaluation's Secret), plain (variable: value), files (key of the ConfigMap: path), scratch (paths), live, ready.
*/}}
{{- define "tael.evaluationSet" -}}
{{- $root := .root }}
{{- $values := index $root.Values.evaluation .component }}
{{- $name := include "tael.name" $root }}
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}-{{ .component }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "tael.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  clusterIP: None
  selector:
    {{- include "tael.selector" (dict "root" $root "service" .component) | nindent 4 }}
  ports:
    {{- range $port, $number := .ports }}
    - name: {{ $port }}
      port: {{ $number }}
      targetPort: {{ $port }}
    {{- end }}
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ $name }}-{{ .component }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "tael.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  replicas: 1
  serviceName: {{ $name }}-{{ .component }}
  selector:
    matchLabels:
      {{- include "tael.selector" (dict "root" $root "service" .component) | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "tael.labels" $root | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
      annotations:
        checksum/files: {{ range $file, $_ := .files }}{{ $root.Files.Get (printf "files/%s" $file) | sha256sum | trunc 16 }}{{ end }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 60
      securityContext:
        runAsNonRoot: true
        runAsUser: {{ .uid }}
        runAsGroup: {{ .uid }}
        fsGroup: {{ .uid }}
        seccompProfile: {type: RuntimeDefault}
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .component }}
          image: {{ include "tael.thirdParty" (dict "root" $root "image" $values.image) | quote }}
          {{- with .args }}
          args:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          env:
            {{- range $variable, $key := .env }}
            - name: {{ $variable }}
              valueFrom: {secretKeyRef: {name: {{ $name }}-evaluation, key: {{ $key }}}}
            {{- end }}
            {{- range $variable, $value := .plain }}
            - name: {{ $variable }}
              value: {{ $value | quote }}
            {{- end }}
          ports:
            {{- range $port, $number := .ports }}
            - name: {{ $port }}
              containerPort: {{ $number }}
            {{- end }}
          startupProbe:
            httpGet: {{- toYaml .live | nindent 14 }}
            periodSeconds: 5
            failureThreshold: 120
          # NATS stays unhealthy after a write error until it is restarted.
          livenessProbe:
            httpGet: {{- toYaml .live | nindent 14 }}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 3
          readinessProbe:
            httpGet: {{- toYaml .ready | nindent 14 }}
            periodSeconds: 5
            timeoutSeconds: 5
          resources:
            {{- toYaml $values.resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          volumeMounts:
            - name: data
              mountPath: {{ .data }}
            {{- range $index, $path := .scratch | default (list "/tmp") }}
            - name: scratch
              mountPath: {{ $path }}
              subPath: scratch-{{ $index }}
            {{- end }}
            {{- range $file, $path := .files }}
            - name: files
              mountPath: {{ $path }}
              subPath: {{ $file }}
              readOnly: true
            {{- end }}
      volumes:
        - name: scratch
          emptyDir: {sizeLimit: 512Mi}
        {{- if .files }}
        - name: files
          configMap: {name: {{ $name }}-evaluation}
        {{- end }}
  volumeClaimTemplates:
    - metadata:
        name: data
      spec:
        accessModes: [ReadWriteOnce]
        {{- with $root.Values.evaluation.storageClass }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests: {storage: {{ $values.size }}}
{{- end }}
