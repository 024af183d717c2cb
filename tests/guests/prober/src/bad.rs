//! What a window should not do.

use hms_window::{Problem, Response, sleep_ms};
use std::hint::black_box;

pub fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

pub fn work(turns: u64) -> u64 {
    (0..turns).fold(0, |sum, turn| black_box(sum + turn))
}

pub async fn alloc(mib: usize, ms: u64) -> Result<Response, Problem> {
    let mut taken = Vec::new();
    for _ in 0..mib {
        // By the MiB, so that it ends at the limit and not at one impossible size; and not zero, so
        // that it is touched.
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

pub fn log(lines: usize, bytes: usize, newline: bool) -> Response {
    let line = "x".repeat(bytes);
    for _ in 0..lines {
        if newline {
            println!("{line}");
            eprintln!("{line}");
        } else {
            print!("{line}");
            eprint!("{line}");
        }
    }
    Response::empty(204)
}

/// Deeper for every byte of the stack.
pub fn recurse(depth: u64) -> u64 {
    if depth == black_box(u64::MAX) {
        return depth;
    }
    let frame = black_box([depth; 64]);
    black_box(recurse(depth + 1)) + frame[(depth % 64) as usize]
}

pub fn endless() -> Response {
    Response::stream(200, async move |out| {
        loop {
            out.write(vec![b'.'; 64 * 1024]).await?;
        }
    })
}

/// An endless row of empty pieces, after the first.
pub fn empty_pieces() -> Response {
    Response::stream(200, async move |out| {
        out.write("first\n").await?;
        loop {
            out.write("").await?;
        }
    })
}

/// Begins what never ends, and does not wait for it.
pub async fn subtasks() -> ! {
    let mut waiting = Vec::new();
    loop {
        let mut wait = Box::pin(wasip3::clocks::monotonic_clock::wait_for(u64::MAX));
        let begun =
            std::future::poll_fn(|cx| std::task::Poll::Ready(wait.as_mut().poll(cx).is_ready()));
        begun.await;
        waiting.push(wait);
    }
}

/// Waits for what comes in some centuries, and lets nothing else happen meanwhile.
pub fn poll() -> Response {
    std::thread::sleep(std::time::Duration::from_secs(1 << 33));
    Response::empty(204)
}
