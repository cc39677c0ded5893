{{/* The launcher's configuration of its cluster (launcher/kubernetes/config.py). */}}
{{- define "stratum.launcherConfig" -}}
{{- $runs := .Values.runs }}
tenants:
  {{- range include "stratum.tenants" . | fromJsonArray }}
  {{ .name | quote }}:
    namespace: {{ .namespace | quote }}
    s3_secret: {{ include "stratum.tenantS3Secret" . }}
    {{- with .queue }}
    queue: {{ . | quote }}
    {{- end }}
    {{- with .priorityClass }}
    priority_class: {{ . | quote }}
    {{- end }}
  {{- end }}
service_account: {{ $runs.serviceAccount | quote }}
executor_service_account: {{ $runs.executorServiceAccount | quote }}
sidecar_image: {{ include "stratum.image" (list . "launcher") }}
image_pull_policy: {{ .Values.image.pullPolicy }}
image_pull_secrets: {{ toJson .Values.image.pullSecrets }}
{{- if include "stratum.caConfigMap" . }}
ca_config_map: {name: {{ include "stratum.caConfigMap" . }}, key: {{ include "stratum.caKey" . }}}
{{- end }}
{{- with $runs.queue }}
queue: {{ . | quote }}
{{- end }}
{{- with $runs.priorityClass }}
priority_class: {{ . | quote }}
{{- end }}
executors: {allocation: {{ $runs.executorAllocation }}}
cpu_request_ratio: {{ $runs.cpuRequestRatio }}
memory_overhead: {{ toJson $runs.memoryOverhead }}
{{- with $runs.ephemeralStorage }}
ephemeral_storage:
  {{- range $key, $value := . }}
  {{- /* numbers of values are floating: printed as they are, a large one would be 1e+12 */}}
  {{ snakecase $key }}: {{ ternary $value (int64 $value | toString) (kindIs "string" $value) | quote }}
  {{- end }}
{{- end }}
executor_deadline_seconds: {{ int $runs.executorDeadlineSeconds }}
image_patience_seconds: {{ int $runs.imagePatienceSeconds }}
job_ttl_seconds: {{ int $runs.jobTtlSeconds }}
node_selector: {{ toJson $runs.nodeSelector }}
tolerations: {{ toJson $runs.tolerations }}
pod_labels: {{ toJson $runs.podLabels }}
pod_annotations: {{ toJson $runs.podAnnotations }}
{{- end }}

{{/* The launcher reads its configuration at the start. The catalog is not part of this: it is read again when it changes. */}}
{{- define "stratum.launcherChecksum" -}}
stratum.dev/config-checksum: {{ include "stratum.launcherConfig" . | sha256sum }}
{{- with .Values.privateCA.pem }}
stratum.dev/ca-checksum: {{ sha256sum . }}
{{- end }}
{{- end }}
