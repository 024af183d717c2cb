//! What wrk is to send where it is no plain GET, in Lua.

use std::path::PathBuf;

/// A payment.
pub fn pay() -> anyhow::Result<PathBuf> {
    write(
        "pay.lua",
        "wrk.method = 'POST'\n\
         wrk.headers['content-type'] = 'application/json'\n\
         wrk.body = '{\"amount\":42,\"purpose\":\"FOIA copy fee\"}'\n",
    )
}

/// A form with a file of so many bytes.
pub fn upload(bytes: usize) -> anyhow::Result<PathBuf> {
    write(
        "upload.lua",
        &format!(
            "wrk.method = 'POST'\n\
             wrk.headers['content-type'] = 'multipart/form-data; boundary=b'\n\
             wrk.body = '--b\\r\\ncontent-disposition: form-data; name=\"file\"; filename=\"f.bin\"\\r\\n\
             content-type: application/octet-stream\\r\\n\\r\\n' .. string.rep('0123456789abcdef', {}) .. '\\r\\n--b--\\r\\n'\n",
            bytes / 16
        ),
    )
}

/// POSTs with an idempotency key that no other has.
pub fn keyed() -> anyhow::Result<PathBuf> {
    write(
        "keyed.lua",
        "wrk.method = 'POST'\n\
         wrk.body = '{}'\n\
         local n, run = 0, os.time() .. '-' .. os.clock()\n\
         request = function()\n  n = n + 1\n  wrk.headers['idempotency-key'] = run .. '-' .. n\n  return wrk.format()\nend\n",
    )
}

/// A PUT of as many bytes to a path of its own for each connection.
pub fn put(bytes: usize) -> anyhow::Result<PathBuf> {
    write(
        "put.lua",
        &format!(
            "wrk.method = 'PUT'\n\
             wrk.body = string.rep('0123456789abcdef', {})\n\
             local n = 0\n\
             request = function()\n  n = n + 1\n  return wrk.format(nil, '/in/' .. (n % 8))\nend\n",
            bytes / 16
        ),
    )
}

/// One of so many paths `/wN`, by turns that are not in their order.
pub fn any_window(windows: u32) -> anyhow::Result<PathBuf> {
    write(
        &format!("windows-{windows}.lua"),
        &format!(
            "local n = 0\nrequest = function()\n  n = (n + 7919) % {windows}\n  return wrk.format(nil, '/w' .. n)\nend\n"
        ),
    )
}

fn write(name: &str, text: &str) -> anyhow::Result<PathBuf> {
    let folder = hms_harness::root().join("target/compare/scripts");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(name);
    std::fs::write(&path, text)?;
    Ok(path)
}
