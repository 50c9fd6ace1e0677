# Sourced by scripts that run several parts to their end and say which failed.
failed=()
part() {
	local name=$1
	shift
	echo "== $name"
	local began=$SECONDS
	"$@" || failed+=("$name")
	echo "== $name: $((SECONDS - began)) s"
}

# verdict ends the script.
verdict() {
	if [ ${#failed[@]} -gt 0 ]; then
		printf 'failed: %s\n' "${failed[@]}"
		exit 1
	fi
	echo "all parts passed"
	exit 0
}
