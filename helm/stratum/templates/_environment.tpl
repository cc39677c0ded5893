{{/* Variables of containers (docs/reference/settings.md). Secrets come by reference, never by value. */}}

{{- define "stratum.env.database" -}}
- name: STRATUM_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ include "stratum.databaseSecret" . }}, key: {{ .Values.database.existingSecret.key }}}}
- {name: STRATUM_DATABASE_POOL_SIZE, value: {{ .Values.database.poolSize | quote }}}
{{- end }}

{{/* The most that all pods open: a pool each, and a relay's lock has one of its own. */}}
{{- define "stratum.databaseConnections" -}}
{{- $api := .Values.api.autoscaling }}
{{- $relays := (include "stratum.component" (list . "relay") | fromJson).replicas | int }}
{{- $pods := add $relays (ternary $api.maxReplicas (include "stratum.component" (list . "api") | fromJson).replicas $api.enabled | int) }}
{{- range list "reconcile" "webhooks" }}{{ $pods = add $pods ((include "stratum.component" (list $ .) | fromJson).replicas | int) }}{{ end }}
{{- add (mul $pods (int .Values.database.poolSize)) $relays }}
{{- end }}

{{- define "stratum.env.kafka" -}}
- {name: STRATUM_KAFKA_BOOTSTRAP, value: {{ include "stratum.kafkaBootstrap" . | quote }}}
- {name: STRATUM_TOPIC_PREFIX, value: {{ .Values.kafka.topicPrefix | quote }}}
- {name: STRATUM_KAFKA_SECURITY_PROTOCOL, value: {{ .Values.kafka.securityProtocol }}}
{{- with .Values.kafka.sasl }}
{{- if .mechanism }}
- {name: STRATUM_KAFKA_SASL_MECHANISM, value: {{ .mechanism }}}
- name: STRATUM_KAFKA_SASL_USERNAME
  valueFrom: {secretKeyRef: {name: {{ .existingSecret.name }}, key: {{ .existingSecret.usernameKey }}}}
- name: STRATUM_KAFKA_SASL_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .existingSecret.name }}, key: {{ .existingSecret.passwordKey }}}}
{{- end }}
{{- end }}
{{- end }}

{{- define "stratum.env.topics" -}}
{{- $topics := .Values.kafka.topics }}
{{- $one := .Values.dev.enabled }}
- {name: STRATUM_TOPIC_PARTITIONS, value: {{ $topics.partitions | quote }}}
- {name: STRATUM_TOPIC_REPLICATION, value: {{ ternary 1 $topics.replication $one | quote }}}
{{- if and $topics.minInsyncReplicas (not $one) }}
- {name: STRATUM_TOPIC_MIN_INSYNC_REPLICAS, value: {{ $topics.minInsyncReplicas | quote }}}
{{- end }}
- {name: STRATUM_TOPIC_RETENTION_HOURS, value: {{ $topics.retentionHours | quote }}}
{{- end }}

{{- define "stratum.env.s3Address" -}}
- {name: STRATUM_S3_ENDPOINT, value: {{ include "stratum.s3Endpoint" . | quote }}}
- {name: STRATUM_S3_REGION, value: {{ .Values.s3.region | quote }}}
{{- end }}

{{- define "stratum.env.s3" -}}
{{ include "stratum.env.s3Address" . }}
{{- with .Values.s3.publicEndpoint }}
- {name: STRATUM_S3_PUBLIC_ENDPOINT, value: {{ . | quote }}}
{{- end }}
- name: STRATUM_S3_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ include "stratum.s3Secret" . }}, key: {{ .Values.s3.existingSecret.accessKeyKey }}}}
- name: STRATUM_S3_SECRET_KEY
  valueFrom: {secretKeyRef: {name: {{ include "stratum.s3Secret" . }}, key: {{ .Values.s3.existingSecret.secretKeyKey }}}}
{{- end }}

{{/* What is kept, and for how long. 0 stands for ever: then the variable is not set, but where the service's own default is a life. */}}
{{- define "stratum.env.retention" -}}
{{- $names := dict "graceSeconds" "SWEEP_GRACE_SECONDS" "listingSeconds" "SWEEP_LISTING_SECONDS"
  "unknownGraceSeconds" "SWEEP_UNKNOWN_GRACE_SECONDS" "strayJobSeconds" "STRAY_JOB_SECONDS" "retireGraceSeconds" "RETIRE_GRACE_SECONDS"
  "idempotencyKeySeconds" "IDEMPOTENCY_KEY_SECONDS" "outboxSeconds" "OUTBOX_SECONDS" "sweepRecordSeconds" "SWEEP_RECORD_SECONDS"
  "webhookDeliverySeconds" "WEBHOOK_DELIVERY_SECONDS" "eventSeconds" "EVENT_SECONDS"
  "refusedCallbackSeconds" "REFUSED_CALLBACK_SECONDS" "logSeconds" "LOG_SECONDS" }}
- {name: STRATUM_SWEEP_UNKNOWN_FOLDERS, value: {{ .Values.retention.unknownFolders | quote }}}
{{- range $key, $name := $names }}
{{- $seconds := int64 (index $.Values.retention $key) }}
{{- if or $seconds (has $key (list "graceSeconds" "refusedCallbackSeconds" "webhookDeliverySeconds" "strayJobSeconds")) }}
- {name: STRATUM_{{ $name }}, value: {{ $seconds | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "stratum.env.callback" -}}
- {name: STRATUM_CALLBACK_BASE_URL, value: {{ include "stratum.callbackBaseUrl" . | quote }}}
{{- end }}
{{- define "stratum.env.jwks" -}}
- {name: STRATUM_JWKS_URL, value: {{ printf "%s/.well-known/jwks.json" (include "stratum.launcherApiUrl" .) | quote }}}
{{- end }}

{{- define "stratum.env.tokens" -}}
{{ include "stratum.env.callback" . }}
- name: STRATUM_SIGNING_KEY_FILE
  value: {{ range $number, $key := .Values.signingKeys.existingSecret.keys }}{{ if $number }}:{{ end }}/etc/stratum/keys/{{ $key }}{{ end }}
{{- end }}
{{- define "stratum.mount.tokens" -}}
- {name: keys, mountPath: /etc/stratum/keys, readOnly: true}
{{- end }}
{{- define "stratum.volume.tokens" -}}
# 0440: for our group alone
- {name: keys, secret: {secretName: {{ include "stratum.signingSecret" . }}, defaultMode: 288}}
{{- end }}

{{- define "stratum.env.oidc" -}}
{{- with .Values.oidc }}
{{- if .issuer }}
- {name: STRATUM_OIDC_ISSUER, value: {{ .issuer | quote }}}
- {name: STRATUM_OIDC_AUDIENCE, value: {{ .audience | quote }}}
{{- with .jwksUrl }}
- {name: STRATUM_OIDC_JWKS_URL, value: {{ . | quote }}}
{{- end }}
- {name: STRATUM_OIDC_ALGORITHMS, value: {{ join "," .algorithms | quote }}}
- {name: STRATUM_OIDC_TENANT_CLAIM, value: {{ .tenantClaim | quote }}}
- {name: STRATUM_OIDC_ROLES_CLAIM, value: {{ .rolesClaim | quote }}}
{{- with .roles }}
- {name: STRATUM_OIDC_ROLES, value: {{ toJson . | quote }}}
{{- end }}
- {name: STRATUM_OIDC_LEEWAY_SECONDS, value: {{ .leewaySeconds | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{/* What the API refuses with the request and `webhooks` at the delivery must be the same. */}}
{{- define "stratum.env.webhookTargets" -}}
- {name: STRATUM_WEBHOOK_ALLOW, value: {{ join "," .Values.webhooks.allow | quote }}}
- {name: STRATUM_WEBHOOK_PORTS, value: {{ join "," .Values.webhooks.ports | quote }}}
{{- end }}

{{- define "stratum.env.ca" -}}
{{- if include "stratum.caConfigMap" . }}
- {name: STRATUM_CA_BUNDLE, value: /etc/stratum/ca/{{ include "stratum.caKey" . }}}
{{- end }}
{{- end }}
{{- define "stratum.mount.ca" -}}
{{- if include "stratum.caConfigMap" . }}
- {name: ca, mountPath: /etc/stratum/ca, readOnly: true}
{{- end }}
{{- end }}
{{- define "stratum.volume.ca" -}}
{{- if include "stratum.caConfigMap" . }}
- {name: ca, configMap: {name: {{ include "stratum.caConfigMap" . }}}}
{{- end }}
{{- end }}

{{/* The catalog is mounted as a whole folder: a file mounted by `subPath` would never change. */}}
{{- define "stratum.env.catalog" -}}
- {name: STRATUM_CATALOG_DIR, value: "builtin:/etc/stratum/catalog"}
{{- end }}
{{- define "stratum.env.jobsImage" -}}
- {name: STRATUM_JOBS_IMAGE, value: {{ include "stratum.image" (list . "spark") | quote }}}
{{- end }}
{{/* Which images runs may use: the API asks when it accepts, `submit` once more of its own settings. No list at all allows everything. */}}
{{- define "stratum.env.images" -}}
{{- $lists := dict }}
{{- with .Values.runs.allowedImages }}{{ $lists = set $lists "*" . }}{{ end }}
{{- range include "stratum.tenants" . | fromJsonArray }}
{{- if hasKey . "allowedImages" }}{{ $lists = set $lists .name .allowedImages }}{{ end }}
{{- end }}
{{- if $lists }}
{{- /* a tenant's own list says nothing about the others: without one for all, they stay free */}}
{{- if not (hasKey $lists "*") }}{{ $lists = set $lists "*" (list "*") }}{{ end }}
- {name: STRATUM_ALLOWED_IMAGES, value: {{ toJson $lists | quote }}}
{{- end }}
- {name: STRATUM_REQUIRE_IMAGE_DIGEST, value: {{ .Values.runs.requireImageDigest | quote }}}
{{- end }}
{{- define "stratum.mount.catalog" -}}
- {name: catalog, mountPath: /etc/stratum/catalog, readOnly: true}
{{- end }}
{{- define "stratum.volume.catalog" -}}
- {name: catalog, configMap: {name: {{ include "stratum.catalogConfigMap" . }}}}
{{- end }}

{{- define "stratum.env.launcher" -}}
- {name: STRATUM_LAUNCHER_BACKEND, value: kubernetes}
- {name: STRATUM_CLUSTER, value: {{ .Values.clusterName | quote }}}
- {name: STRATUM_KUBERNETES_CONFIG_FILE, value: /etc/stratum/kubernetes/config.yaml}
- {name: STRATUM_KILL_GRACE_SECONDS, value: {{ .Values.runs.killGraceSeconds | quote }}}
- {name: STRATUM_METRICS_PORT, value: "9090"}
{{- end }}
{{- define "stratum.mount.launcher" -}}
- {name: kubernetes, mountPath: /etc/stratum/kubernetes, readOnly: true}
{{- end }}
{{- define "stratum.volume.launcher" -}}
- {name: kubernetes, configMap: {name: {{ include "stratum.fullname" . }}-kubernetes}}
{{- end }}

{{/* Authorities are read at the start: other ones need other pods. */}}
{{- define "stratum.caChecksum" -}}
{{- with .Values.privateCA.pem }}
stratum.dev/ca-checksum: {{ sha256sum . }}
{{- end }}
{{- end }}
