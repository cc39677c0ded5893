{{/* What pods have in common. Everything runs under Pod Security `restricted`. */}}

{{/* Security of a pod: user id. */}}
{{- define "stratum.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ . }}
  runAsGroup: {{ . }}
  fsGroup: {{ . }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "stratum.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* The values of a Deployment: `defaults`, then its own. (list $ "api") */}}
{{- define "stratum.component" -}}
{{- $ := index . 0 }}
{{- mergeOverwrite (deepCopy $.Values.defaults) (deepCopy (index $.Values (index . 1))) | toJson }}
{{- end }}

{{/* A Deployment of ours. Keys: root, component, image, args, account, token, ports, probes, env, mounts, volumes,
autoscaled, annotations, and needs: what is waited for when `dev` brings it. */}}
{{- define "stratum.deployment" -}}
{{- $ := .root }}
{{- $own := include "stratum.component" (list $ .component) | fromJson }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "stratum.fullname" $ }}-{{ .component }}
  namespace: {{ $.Release.Namespace }}
  labels:
    {{- include "stratum.labels" $ | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  {{- if not .autoscaled }}
  replicas: {{ $own.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  selector:
    matchLabels:
      {{- include "stratum.selector" $ | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
  template:
    metadata:
      labels:
        {{- include "stratum.selector" $ | nindent 8 }}
        app.kubernetes.io/part-of: stratum
        app.kubernetes.io/component: {{ .component }}
        {{- if eq (first .ports).name "metrics" }}
        stratum.dev/metrics: "true"
        {{- end }}
        {{- with $own.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with merge (deepCopy $own.podAnnotations) (.annotations | default dict) }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ .account }}
      automountServiceAccountToken: {{ .token | default false }}
      enableServiceLinks: false
      {{- include "stratum.pullSecrets" $ | nindent 6 }}
      {{- include "stratum.podSecurity" 185 | nindent 6 }}
      terminationGracePeriodSeconds: {{ $own.terminationGracePeriodSeconds }}
      {{- with $own.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- if $.Values.dev.enabled }}
      initContainers:
        - name: wait
          {{- include "stratum.containerOf" (list $ "controlPlane") | nindent 10 }}
          args: {{ concat (list "wait") .needs | toJson }}
          resources: {{ toJson $own.resources }}
          env:
            {{- if has "schema" .needs }}
            {{- include "stratum.env.database" $ | nindent 12 }}
            {{- end }}
            {{- if has "broker" .needs }}
            {{- include "stratum.env.kafka" $ | nindent 12 }}
            {{- end }}
      {{- end }}
      containers:
        - name: {{ .component }}
          {{- include "stratum.containerOf" (list $ .image) | nindent 10 }}
          args: {{ toJson .args }}
          ports: {{ toJson .ports }}
          resources: {{ toJson $own.resources }}
          {{- .probes | nindent 10 }}
          env:
            {{- .env | nindent 12 }}
            {{- include "stratum.env.ca" $ | nindent 12 }}
            {{- with $own.extraEnv }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            {{- include "stratum.mount.ca" $ | nindent 12 }}
            {{- .mounts | nindent 12 }}
      volumes:
        - {name: tmp, emptyDir: {sizeLimit: 256Mi}}
        {{- include "stratum.volume.ca" $ | nindent 8 }}
        {{- .volumes | nindent 8 }}
      {{- with $own.nodeSelector }}
      nodeSelector: {{ toJson . }}
      {{- end }}
      {{- with $own.tolerations }}
      tolerations: {{ toJson . }}
      {{- end }}
      {{- with $own.affinity }}
      affinity: {{ toJson . }}
      {{- end }}
      topologySpreadConstraints:
        {{- if $own.topologySpreadConstraints }}
        {{- toYaml $own.topologySpreadConstraints | nindent 8 }}
        {{- else }}
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "stratum.selector" $ | nindent 14 }}
              app.kubernetes.io/component: {{ .component }}
        {{- end }}
{{- if and $own.podDisruptionBudget (or .autoscaled (gt (int $own.replicas) 1)) }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "stratum.fullname" $ }}-{{ .component }}
  namespace: {{ $.Release.Namespace }}
  labels:
    {{- include "stratum.labels" $ | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "stratum.selector" $ | nindent 6 }}
      app.kubernetes.io/component: {{ .component }}
{{- end }}
{{- end }}

{{/* Image and security of a container: (list $ "controlPlane"). */}}
{{- define "stratum.containerOf" -}}
{{- $ := index . 0 -}}
image: {{ include "stratum.image" . }}
imagePullPolicy: {{ $.Values.image.pullPolicy }}
{{ include "stratum.containerSecurity" $ }}
{{- end }}

{{/* Probes of roles without an API, on their metrics port. */}}
{{- define "stratum.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 20
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 10
  timeoutSeconds: 5
{{- end }}
