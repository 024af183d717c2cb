# Makes dist/{{name}}.wasm of app.py and the files of site. The first time it puts what it needs into .venv.
set -e
if ! test -x .venv/bin/hms-window; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet ./vendor/hms-window
fi
.venv/bin/hms-window build app.py --site site -o dist/{{name}}.wasm
