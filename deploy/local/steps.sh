# shellcheck shell=bash
# The steps that all local clusters share. A script of this folder defines its cluster by these, then calls `main "$@"`:
#
#   tools            `need` each program
#   cluster_up       start the cluster, or find it up; set KUBECONFIG or the context
#   cluster_down     stop it; what it held is gone
#   cluster_images   build the images that are named and hand them to its nodes
#   VALUES           more arguments of `helm`, an array
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
RELEASE=stratum NAMESPACE=stratum
API_PORT=${STRATUM_LOCAL_API_PORT:-18080} S3_PORT=${STRATUM_LOCAL_S3_PORT:-19000}
VALUES=()
IMAGES=(control-plane launcher spark cli)
TEST_IMAGES=(own-action misbehave test-job)

say() { echo "[$(basename "$0")] $*" >&2; }
die() { say "$*" && exit 1; }
need() { command -v "$1" >/dev/null || die "$1 is not on the PATH. $2"; }

main() {
  local step
  [ $# -gt 0 ] || usage
  for step in "$@"; do
    case $step in up | images | test-images | chart | demo | connect | down | env | all) ;; *) usage ;; esac
  done
  tools
  for step in "$@"; do "step_${step//-/_}"; done
}

usage() {
  cat >&2 <<WORDS
$0 STEP...

  all          up, images, chart, demo
  up           start the cluster
  images       build Stratum's images and load them, when something in them changed
  test-images  the same for what tests/cluster runs beside them
  chart        install or upgrade the chart, with single-replica PostgreSQL, Kafka and MinIO
  demo         336,776 flights through the API in the cluster
  connect      keep API and object store reachable from here, until Ctrl-C
  env          print what to export for kubectl, helm and stratum
  down         delete the cluster and all it holds
WORDS
  exit 2
}

# no `&&` between steps: bash would go on after a failure inside of them
step_all() { step_up; step_images; step_chart; step_demo; }

step_up() { cluster_up; kubectl get nodes; }

step_down() { cluster_down; }

step_images() { images_of images "${IMAGES[@]}"; }

step_test_images() { images_of test-images "${IMAGES[@]}" "${TEST_IMAGES[@]}"; }

images_of() { # MARK NAME... - the mark of what was built lies in the cluster, so it goes when the images go
  local mark=$1 inputs built && shift
  cluster_up >&2
  inputs=$(image_inputs "$@")
  built=$(inputs_of "$mark")
  if [ "$inputs" = "$built" ]; then say "the images are those of these sources"; return; fi
  cluster_images "$@"
  kubectl -n default create configmap "stratum-$mark" --from-literal=inputs="$inputs" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
}

inputs_of() { # MARK - of what the images in the cluster were built; nothing when they were not
  kubectl -n default get configmap "stratum-$1" --ignore-not-found -o jsonpath='{.data.inputs}'
}

image_inputs() { # NAME... - one hash of all that goes into the images
  local paths=() path
  cd "$ROOT"
  while read -r path; do [ ! -e "$path" ] || paths+=("$path"); done < <(sed -n 's/^!//p' .dockerignore)
  find "${paths[@]}" -type f -not -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum | { cat && echo "$@"; } | sha256sum | cut -d' ' -f1
}

step_chart() {
  local images test_images
  cluster_up >&2
  images=$(inputs_of images)
  test_images=$(inputs_of test-images)
  kubectl create namespace "$NAMESPACE" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
  kubectl label namespace "$NAMESPACE" --overwrite pod-security.kubernetes.io/enforce=restricted >/dev/null
  # new images have the tag of the old: only by a difference in the pods are those replaced that run the old ones
  helm upgrade --install "$RELEASE" "$ROOT/helm/stratum" --namespace "$NAMESPACE" --values "$ROOT/deploy/local/values.yaml" \
    --set "s3.publicEndpoint=http://127.0.0.1:$S3_PORT" --set-string "defaults.podAnnotations.stratum\.dev/images=$images.$test_images" \
    "${VALUES[@]}" --wait --wait-for-jobs --timeout 10m
}

step_demo() {
  cluster_up >&2
  make -s -C "$ROOT" .venv/ready
  connected
  STRATUM_URL=http://127.0.0.1:$API_PORT STRATUM_TOKEN=$(token) "$ROOT/.venv/bin/stratum" demo
}

step_connect() {
  cluster_up >&2
  connected
  say "API http://127.0.0.1:$API_PORT, object store http://127.0.0.1:$S3_PORT; in another terminal: eval \"\$($0 env)\"; Ctrl-C ends it"
  wait
}

step_env() {
  cluster_up >&2
  printf 'export KUBECONFIG=%q PATH=%q\n' "${KUBECONFIG:-$HOME/.kube/config}" "$PATH"
  if kubectl -n "$NAMESPACE" get secret "$RELEASE-api-key" >/dev/null 2>&1; then
    printf 'export STRATUM_URL=%q STRATUM_TOKEN=%q\n' "http://127.0.0.1:$API_PORT" "$(token)"
  fi
}

token() { kubectl -n "$NAMESPACE" get secret "$RELEASE-api-key" -o jsonpath='{.data.api-key}' | base64 -d; }

connected() { # forward both ports until this script ends; uploads and results go to the object store directly
  forward "$RELEASE-api" "$API_PORT:80"
  forward "$RELEASE-minio" "$S3_PORT:9000"
  answers "$API_PORT" /readyz
  answers "$S3_PORT" /minio/health/live
}

forward() { # SERVICE LOCAL:REMOTE
  kubectl -n "$NAMESPACE" port-forward "service/$1" "$2" >/dev/null &
  # shellcheck disable=SC2064 # the id of this very child
  trap "kill $(jobs -p | tr '\n' ' ') 2>/dev/null || true" EXIT
}

answers() { # PORT PATH
  local try
  for try in $(seq 60); do
    curl --silent --fail --max-time 5 --output /dev/null "http://127.0.0.1:$1$2" && return
    [ "$try" -lt 60 ] && sleep 1
  done
  die "http://127.0.0.1:$1$2 did not answer within a minute; is the port taken by something else? STRATUM_LOCAL_API_PORT and STRATUM_LOCAL_S3_PORT choose others"
}

common_tools() {
  need kubectl "https://kubernetes.io/docs/tasks/tools/"
  need helm "https://helm.sh/docs/intro/install/ (3.14 or later)"
  need curl "Your system's packages have it."
  need make "Your system's packages have it."
}
