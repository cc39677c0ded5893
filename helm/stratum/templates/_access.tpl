{{/* Roles are the rows of files/access.json, which is made from contracts/access.py. */}}

{{/* Role and binding. Keys: root, role (of the table), where (of the table), namespace, name, account, accountNamespace. */}}
{{- define "stratum.access" -}}
{{- $rules := list }}
{{- $given := . }}
{{- range .root.Files.Get "files/access.json" | fromJsonArray }}
{{- if and (eq .role $given.role) (eq .where $given.where) }}
{{- $rules = append $rules (dict "apiGroups" (list .api_group) "resources" (list .resource) "verbs" .verbs) }}
{{- end }}
{{- end }}
{{- if $rules }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .name | quote }}
  namespace: {{ .namespace | quote }}
  labels:
    {{- include "stratum.labels" .root | nindent 4 }}
rules:
  {{- range $rules }}
  - {{ toJson . }}
  {{- end }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name | quote }}
  namespace: {{ .namespace | quote }}
  labels:
    {{- include "stratum.labels" .root | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ .name | quote }}}
subjects:
  - {kind: ServiceAccount, name: {{ .account | quote }}, namespace: {{ .accountNamespace | quote }}}
{{- end }}
{{- end }}
