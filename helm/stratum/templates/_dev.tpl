{{/* Generated once; later upgrades find what was generated. JSON of the texts. */}}
{{- define "stratum.devSecrets" -}}
{{- if not (hasKey .Values.dev "generated") }}
{{- $fullname := include "stratum.fullname" . }}
{{- $s3 := (lookup "v1" "Secret" .Release.Namespace (printf "%s-s3" $fullname)).data | default dict }}
{{- $postgres := (lookup "v1" "Secret" .Release.Namespace (printf "%s-postgresql" $fullname)).data | default dict }}
{{- $apiKey := (lookup "v1" "Secret" .Release.Namespace (printf "%s-api-key" $fullname)).data | default dict }}
{{- $signing := (lookup "v1" "Secret" .Release.Namespace (printf "%s-signing-keys" $fullname)).data | default dict }}
{{- $generated := dict
  "s3AccessKey" (ternary (index $s3 "access-key" | default "" | b64dec) (randAlphaNum 20) (hasKey $s3 "access-key"))
  "s3SecretKey" (ternary (index $s3 "secret-key" | default "" | b64dec) (randAlphaNum 40) (hasKey $s3 "secret-key"))
  "password" (ternary (index $postgres "password" | default "" | b64dec) (randAlphaNum 32) (hasKey $postgres "password"))
  "apiKey" (ternary (index $apiKey "api-key" | default "" | b64dec) (randAlphaNum 40) (hasKey $apiKey "api-key"))
  "signingKey" (ternary (index $signing "signing-key.pem" | default "" | b64dec) (genPrivateKey "ed25519") (hasKey $signing "signing-key.pem")) }}
{{- $_ := set .Values.dev "generated" $generated }}
{{- end }}
{{- toJson .Values.dev.generated }}
{{- end }}

{{/* Metadata of a part of `dev`: (list $ "kafka"). */}}
{{- define "stratum.dev.metadata" -}}
{{- $ := index . 0 -}}
name: {{ include "stratum.fullname" $ }}-{{ index . 1 }}
namespace: {{ $.Release.Namespace }}
labels:
  {{- include "stratum.labels" $ | nindent 2 }}
  app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "stratum.dev.selector" -}}
{{- include "stratum.selector" (index . 0) }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Service and StatefulSet. Keys: root, name, port, container (YAML of the rest of it), folders (writable ones), data (mount path). */}}
{{- define "stratum.dev.service" -}}
{{- $ := .root }}
{{- $name := .name }}
{{- $values := index $.Values.dev .name }}
apiVersion: v1
kind: Service
metadata:
  {{- include "stratum.dev.metadata" (list $ .name) | nindent 2 }}
spec:
  selector:
    {{- include "stratum.dev.selector" (list $ .name) | nindent 4 }}
  ports:
    - {name: {{ .name }}, port: {{ .port }}, targetPort: {{ .port }}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "stratum.dev.metadata" (list $ .name) | nindent 2 }}
spec:
  replicas: 1
  serviceName: {{ include "stratum.fullname" $ }}-{{ .name }}
  selector:
    matchLabels:
      {{- include "stratum.dev.selector" (list $ .name) | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "stratum.selector" $ | nindent 8 }}
        app.kubernetes.io/part-of: stratum
        app.kubernetes.io/component: {{ .name }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      {{- include "stratum.pullSecrets" $ | nindent 6 }}
      {{- include "stratum.podSecurity" (int $values.runAsUser) | nindent 6 }}
      containers:
        - name: {{ .name }}
          image: {{ $values.image }}
          imagePullPolicy: {{ $.Values.image.pullPolicy }}
          {{- include "stratum.containerSecurity" $ | nindent 10 }}
          resources: {{ toJson $values.resources }}
          ports:
            - {name: {{ .name }}, containerPort: {{ .port }}}
          {{- .container | nindent 10 }}
          volumeMounts:
            - {name: data, mountPath: {{ .data }}}
            {{- range $number, $folder := .folders }}
            - {name: writable-{{ $number }}, mountPath: {{ $folder }}}
            {{- end }}
      volumes:
        {{- range $number, $folder := .folders }}
        - {name: writable-{{ $number }}, emptyDir: {sizeLimit: 256Mi}}
        {{- end }}
  # claims outlive the release: uninstalling loses no data
  volumeClaimTemplates:
    - metadata: {name: data}
      spec:
        accessModes: [ReadWriteOnce]
        {{- with $.Values.dev.storageClassName }}
        storageClassName: {{ . }}
        {{- end }}
        resources: {requests: {storage: {{ $values.storage }}}}
{{- end }}
