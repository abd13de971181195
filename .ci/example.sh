#!/usr/bin/env bash
# Starts the example as the README says and asks it over a socket.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=$(mktemp -d)
setsid env PORT=0 npm start >"$folder/log" 2>&1 & # a group of its own, so that stopping npm stops the server too
group=$!
stop() {
  kill -TERM -- "-$group" 2>/dev/null || true
  wait "$group" 2>/dev/null || true
  rm -rf "$folder"
}
trap stop EXIT

fail() {
  printf 'example: %s\n--- what it printed\n' "$1"
  cat "$folder/log"
  exit 1
}

url=
for _ in $(seq 150); do
  url=$(grep -om1 'http://127\.0\.0\.1:[0-9]\+' "$folder/log" || true)
  [ -z "$url" ] || break
  kill -0 "$group" 2>/dev/null || fail "it stopped before it printed an address"
  sleep 0.2
done
[ -n "$url" ] || fail "it printed no address in 30 s"
printf 'example: %s\n' "$url"

# ask NAME STATUS PATTERN CURL-ARGUMENTS...: the status, and a pattern among header lines and body
ask() {
  local name=$1 status=$2 pattern=$3
  shift 3
  curl --silent --show-error --max-time 10 --include "$@" >"$folder/answer" || fail "$name: no answer"
  head -n 1 "$folder/answer" | grep -q "^HTTP/1\.1 $status " ||
    { cat "$folder/answer"; fail "$name: not $status"; }
  tr -d '\r' <"$folder/answer" | grep -qiE "$pattern" ||
    { cat "$folder/answer"; fail "$name: nothing like $pattern"; }
  printf 'example: %s: %s\n' "$name" "$status"
}

ask "a page of it" 200 '^content-type: application/json' "$url/notes"
ask "no such page" 404 '^x-request-id: .' "$url/nothing"
ask "a preflight" 204 '^access-control-allow-methods: .*DELETE' --request OPTIONS \
  --header 'Origin: http://localhost:5173' --header 'Access-Control-Request-Method: DELETE' "$url/notes/1"
ask "a forged host" 400 '^HTTP' --header 'Host: evil.test' "$url/notes"

browser=(--cookie "$folder/jar" --cookie-jar "$folder/jar")
json=(--header 'Content-Type: application/json' --data)
page=(--header 'Accept: text/html')
ask "a cart" 200 '^set-cookie: session=.*; HttpOnly; SameSite=Lax' "${browser[@]}" "${json[@]}" '{"item":"tea"}' "$url/cart"
ask "a page of somebody" 303 '^location: /login\?return_to=' "${browser[@]}" "${page[@]}" "$url/account?from=shop"
form=$url$(sed -n 's/^location: //p' "$folder/answer" | tr -d '\r')
ask "the form" 200 '<form method="post">' "${browser[@]}" "$form"
ask "a wrong password" 401 'The name or the password is wrong' "${browser[@]}" --data 'name=ada&password=wrong' "$form"
login=$(grep -om1 "name=ada&password=[^']*" "$folder/log") || fail "it printed no password"
ask "a login" 303 '^location: /account\?from=shop$' "${browser[@]}" --data "$login" "$form"
ask "the page" 200 'In your cart: tea' "${browser[@]}" "${page[@]}" "$url/account?from=shop"
ask "a route for administrators" 200 '"name":"ada","roles":\["admin"\]' "${browser[@]}" "$url/users"
cp "$folder/jar" "$folder/other"
ask "out, everywhere" 200 '"ended":1' "${browser[@]}" "${json[@]}" '{}' "$url/logout-everywhere"
! grep -q session "$folder/jar" || fail "out, everywhere: the cookie is still there"
ask "what another browser has left" 401 '^www-authenticate: .*Cookie' --cookie "$folder/other" "$url/sessions"

key=$(grep -om1 'x-api-key: notes_[A-Za-z0-9_-]*' "$folder/log") || fail "it printed no key"
ask "a key" 200 '^content-type: text/plain' --header "$key" "$url/export"
ask "no administrator" 403 'do not permit' --header "$key" "$url/users"
ask "a token" 200 '"token_type":"Bearer"' --header "$key" --data scope=notes:export "$url/token"
token=$(grep -o '"access_token":"[^"]*' "$folder/answer" | cut -d '"' -f 4)
ask "what it is for" 200 '^content-type: text/plain' --header "Authorization: Bearer $token" "$url/export"
ask "a token of another scope" 200 '"scope":"notes:import"' --header "$key" --data scope=notes:import "$url/token"
token=$(grep -o '"access_token":"[^"]*' "$folder/answer" | cut -d '"' -f 4)
ask "what it is not for" 403 '^www-authenticate: .*insufficient_scope' --header "Authorization: Bearer $token" "$url/export"

kill -TERM -- "-$group"
for _ in $(seq 50); do
  kill -0 "$group" 2>/dev/null || break
  sleep 0.2
done
! kill -0 "$group" 2>/dev/null || fail "it did not stop in 10 s"
! curl --silent --max-time 2 --output /dev/null "$url/notes" || fail "it still answers after it was stopped"
printf 'example: stopped\n'
