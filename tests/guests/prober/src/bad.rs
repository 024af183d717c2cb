//! What a window should not do.

use hms_window::{Problem, Response, sleep_ms};
use std::hint::black_box;

pub fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

pub async fn alloc(mib: usize, ms: u64) -> Result<Response, Problem> {
    let mut taken = Vec::new();
    for _ in 0..mib {
        // By the MiB, so that it ends at the limit and not at one impossible size; and not zero, so that it is touched.
        taken.push(black_box(vec![1_u8; 1024 * 1024]));
    }
    sleep_ms(ms).await;
    Ok(Response::text(200, format!("{} MiB\n", taken.len())))
}

pub fn trap() -> ! {
    panic!("a trap, as asked")
}

pub fn trap_mid(tell_length: bool) -> Response {
    let half = "half of it\n";
    let response = Response::stream(200, async move |out| {
        out.write(half).await?;
        // The host has it, and has had time to send it.
        sleep_ms(50).await;
        trap()
    });
    if tell_length {
        response.header("content-length", 2 * half.len())
    } else {
        response
    }
}

pub fn log(lines: usize, bytes: usize) -> Response {
    let line = "x".repeat(bytes);
    for _ in 0..lines {
        println!("{line}");
        eprintln!("{line}");
    }
    Response::empty(204)
}
