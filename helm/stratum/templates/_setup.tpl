{{/*
Jobs that prepare an installation. With external services they are hooks: they end before anything else is installed or upgraded.
With `dev` the services come with the release, so they are ordinary Jobs that wait for them, one of each revision.
*/}}

{{- define "stratum.hook" -}}
{{- if not .root.Values.dev.enabled -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
{{- end }}

{{/*
Keys: root, name, weight, needs (what `dev` waits for), containers (list of {name, args, env, mounts}), volumes.
Containers run one after the other: side by side, their requests would add up until no node has room for the pod.
*/}}
{{- define "stratum.setupJob" -}}
{{- $ := .root }}
{{- $resources := include "stratum.component" (list $ "relay") | fromJson | dig "resources" dict }}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "stratum.fullname" $ }}-{{ .name }}{{ if $.Values.dev.enabled }}-{{ $.Release.Revision }}{{ end }}
  namespace: {{ $.Release.Namespace }}
  labels:
    {{- include "stratum.labels" $ | nindent 4 }}
    app.kubernetes.io/component: {{ .name }}
  {{- with include "stratum.hook" . }}
  annotations:
    {{- . | nindent 4 }}
  {{- end }}
spec:
  backoffLimit: 3
  activeDeadlineSeconds: 900
  template:
    metadata:
      labels:
        {{- include "stratum.selector" $ | nindent 8 }}
        app.kubernetes.io/part-of: stratum
        app.kubernetes.io/component: {{ .name }}
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      enableServiceLinks: false
      {{- include "stratum.pullSecrets" $ | nindent 6 }}
      {{- include "stratum.podSecurity" 185 | nindent 6 }}
      {{- include "stratum.setupPlacement" $ | nindent 6 }}
      {{- if or $.Values.dev.enabled (rest .containers) }}
      initContainers:
        {{- if $.Values.dev.enabled }}
        - name: wait
          {{- include "stratum.containerOf" (list $ "controlPlane") | nindent 10 }}
          args: {{ concat (list "wait") .needs | toJson }}
          resources: {{ toJson $resources }}
          env:
            {{- (first .containers).env | nindent 12 }}
        {{- end }}
        {{- range initial .containers }}
        {{- include "stratum.setupContainer" (dict "root" $ "container" . "resources" $resources) | nindent 8 }}
        {{- end }}
      {{- end }}
      containers:
        {{- include "stratum.setupContainer" (dict "root" $ "container" (last .containers) "resources" $resources) | nindent 8 }}
      volumes:
        - {name: tmp, emptyDir: {sizeLimit: 64Mi}}
        {{- include "stratum.volume.setupCa" $ | nindent 8 }}
        {{- .volumes | default "" | nindent 8 }}
{{- end }}

{{- define "stratum.setupContainer" -}}
- name: {{ .container.name }}
  {{- include "stratum.containerOf" (list .root "controlPlane") | nindent 2 }}
  args: {{ toJson .container.args }}
  resources: {{ toJson .resources }}
  env:
    {{- .container.env | nindent 4 }}
    {{- include "stratum.env.ca" .root | nindent 4 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    {{- include "stratum.mount.ca" .root | nindent 4 }}
    {{- .container.mounts | default "" | nindent 4 }}
{{- end }}

{{/* Where pods of hooks go, the tests' too: to the nodes that the services may have. */}}
{{- define "stratum.setupPlacement" -}}
{{- with .Values.defaults.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .Values.defaults.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- end }}

{{/* The tenants' API keys. A key that is missing stops the pod, and not what runs in it. */}}
{{- define "stratum.volume.apiKeys" -}}
{{- range include "stratum.tenants" . | fromJsonArray }}
{{- $secret := dig "existingSecret" dict .apiKey }}
{{- if $secret.name }}
{{- $key := $secret.key | default "api-key" | quote }}
- {name: api-key-{{ .name }}, secret: {secretName: {{ $secret.name | quote }}, defaultMode: 288, items: [{key: {{ $key }}, path: {{ $key }}}]}}
{{- end }}
{{- end }}
{{- end }}

{{/* The authorities for these Jobs: as hooks they come before the ConfigMap of the release, and have a copy. */}}
{{- define "stratum.setupCaConfigMap" -}}
{{ include "stratum.caConfigMap" . }}{{ if and .Values.privateCA.pem (not .Values.dev.enabled) }}-setup{{ end }}
{{- end }}
{{- define "stratum.volume.setupCa" -}}
{{- if include "stratum.caConfigMap" . }}
- {name: ca, configMap: {name: {{ include "stratum.setupCaConfigMap" . }}}}
{{- end }}
{{- end }}
