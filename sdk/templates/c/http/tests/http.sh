# The window in a real host: run by `hms test`, which says where it is.
set -e
url=$HMS_URL/{{name}}

expect() {
    if [ "$2" != "$3" ]; then
        echo "$1: expected '$3', and got '$2'" >&2
        exit 1
    fi
}

expect "GET" "$(curl -s "$url")" "hello from {{name}}"
expect "POST" "$(curl -s -o /dev/null -w '%{http_code}' -d x "$url")" 405
expect "another path" "$(curl -s -o /dev/null -w '%{http_code}' "$url/other")" 404
echo "3 passed"
