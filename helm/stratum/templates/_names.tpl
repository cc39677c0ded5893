{{/* Names, labels and images. */}}

{{- define "stratum.fullname" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}
{{- end }}

{{- define "stratum.chart" -}}
{{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* What never changes over the life of a release; with the component, the selector of its pods. */}}
{{- define "stratum.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "stratum.labels" -}}
{{ include "stratum.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: stratum
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ include "stratum.chart" . }}
{{- end }}

{{/* An image of ours: (list $ "controlPlane"). */}}
{{- define "stratum.image" -}}
{{- $ := index . 0 }}
{{- $image := index $.Values.images (index . 1) }}
{{- with $.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $image.repository }}:{{ $image.tag | default $.Values.image.tag | default $.Chart.AppVersion }}
{{- with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "stratum.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "stratum.apiUrl" -}}
http://{{ include "stratum.fullname" . }}-api.{{ .Release.Namespace }}.svc:{{ .Values.api.service.port }}
{{- end }}

{{- define "stratum.callbackBaseUrl" -}}
{{ .Values.callbackBaseUrl | default (include "stratum.apiUrl" .) }}
{{- end }}

{{/* The API as the launcher reaches it: by its Service, which network policies let through, unless the pods of the API are elsewhere. */}}
{{- define "stratum.launcherApiUrl" -}}
{{- $pods := or .Values.api.autoscaling.enabled (include "stratum.component" (list . "api") | fromJson).replicas }}
{{- if $pods }}{{ include "stratum.apiUrl" . }}{{ else }}{{ include "stratum.callbackBaseUrl" . }}{{ end }}
{{- end }}

{{- define "stratum.kafkaBootstrap" -}}
{{- if .Values.dev.enabled }}{{ include "stratum.fullname" . }}-kafka.{{ .Release.Namespace }}.svc:9092{{ else }}{{ .Values.kafka.bootstrapServers }}{{ end }}
{{- end }}

{{- define "stratum.s3Endpoint" -}}
{{- if .Values.dev.enabled }}http://{{ include "stratum.fullname" . }}-minio.{{ .Release.Namespace }}.svc:9000{{ else }}{{ .Values.s3.endpoint }}{{ end }}
{{- end }}

{{/* Secrets that are named, or that `dev` makes. */}}
{{- define "stratum.databaseSecret" -}}
{{ .Values.database.existingSecret.name | default (printf "%s-postgresql" (include "stratum.fullname" .)) }}
{{- end }}
{{- define "stratum.s3Secret" -}}
{{ .Values.s3.existingSecret.name | default (printf "%s-s3" (include "stratum.fullname" .)) }}
{{- end }}
{{- define "stratum.signingSecret" -}}
{{ .Values.signingKeys.existingSecret.name | default (printf "%s-signing-keys" (include "stratum.fullname" .)) }}
{{- end }}
{{- define "stratum.apiKeySecret" -}}
{{ include "stratum.fullname" . }}-api-key
{{- end }}

{{- define "stratum.caConfigMap" -}}
{{- if .Values.privateCA.pem }}{{ include "stratum.fullname" . }}-ca{{ else }}{{ .Values.privateCA.existingConfigMap.name }}{{ end }}
{{- end }}
{{- define "stratum.caKey" -}}
{{- if .Values.privateCA.pem }}ca.pem{{ else }}{{ .Values.privateCA.existingConfigMap.key }}{{ end }}
{{- end }}

{{- define "stratum.catalogConfigMap" -}}
{{ .Values.catalog.existingConfigMap | default (printf "%s-catalog" (include "stratum.fullname" .)) }}
{{- end }}

{{/* JSON list of tenants with nothing left open. `dev` adds `local`, unless a tenant has this name. */}}
{{- define "stratum.tenants" -}}
{{- $given := .Values.tenants }}
{{- $names := list }}
{{- range $given }}{{ $names = append $names .name }}{{ end }}
{{- if and .Values.dev.enabled (not (has "local" $names)) }}
{{- $key := dict "existingSecret" (dict "name" (include "stratum.apiKeySecret" .) "key" "api-key") }}
{{- $local := dict "name" "local" "bucket" .Values.dev.bucket "apiKey" $key "quota" .Values.dev.quota "s3" (dict "dev" true) }}
{{- $given = prepend $given $local }}
{{- end }}
{{- $all := list }}
{{- range $given }}
{{- $base := dict "namespace" (printf "%s-%s" $.Release.Namespace .name) "createNamespace" true "prefix" "" "maxInFlight" 1000 "quota" dict "limits" list "queue" "" "priorityClass" "" "s3" dict "apiKey" dict }}
{{- $all = append $all (mergeOverwrite $base (deepCopy .)) }}
{{- end }}
{{- toJson $all }}
{{- end }}

{{/* Name and keys of the Secret with the storage keys of a tenant's runs, in its namespace. */}}
{{- define "stratum.tenantS3Secret" -}}
{{- $existing := .s3.existingSecret | default dict }}
{{- dict "name" ($existing.name | default "stratum-s3") "access_key" ($existing.accessKeyKey | default "access-key") "secret_key" ($existing.secretKeyKey | default "secret-key") | toJson }}
{{- end }}
