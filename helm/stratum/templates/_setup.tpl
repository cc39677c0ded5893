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

{{/* Keys: root, name, weight, needs (what `dev` waits for), containers (list of {name, args, env, mounts}), volumes. */}}
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
      {{- with $.Values.defaults.nodeSelector }}
      nodeSelector: {{ toJson . }}
      {{- end }}
      {{- with $.Values.defaults.tolerations }}
      tolerations: {{ toJson . }}
      {{- end }}
      {{- if $.Values.dev.enabled }}
      initContainers:
        - name: wait
          {{- include "stratum.containerOf" (list $ "controlPlane") | nindent 10 }}
          args: {{ concat (list "wait") .needs | toJson }}
          resources: {{ toJson $resources }}
          env:
            {{- (first .containers).env | nindent 12 }}
      {{- end }}
      containers:
        {{- range .containers }}
        - name: {{ .name }}
          {{- include "stratum.containerOf" (list $ "controlPlane") | nindent 10 }}
          args: {{ toJson .args }}
          resources: {{ toJson $resources }}
          env:
            {{- .env | nindent 12 }}
            {{- include "stratum.env.ca" $ | nindent 12 }}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            {{- include "stratum.mount.ca" $ | nindent 12 }}
            {{- .mounts | default "" | nindent 12 }}
        {{- end }}
      volumes:
        - {name: tmp, emptyDir: {sizeLimit: 64Mi}}
        {{- include "stratum.volume.ca" $ | nindent 8 }}
        {{- .volumes | default "" | nindent 8 }}
{{- end }}
