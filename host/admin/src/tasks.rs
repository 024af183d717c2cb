//! Changes run in their own tasks. The answer only watches its change, so a client that disconnects
//! never leaves one half done.

use super::claimed::Room;
use super::reply;
use hms_core::body::Body;
use http::{Response, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::task::TaskTracker;

/// The changes in progress, at most as many as the admin listener has requests in flight: a change
/// keeps the room of its request until it is done, even if its client has disconnected.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    room: Option<Arc<Room>>,
}

impl Tasks {
    /// For the changes of one request, each of which keeps its `room`.
    pub(super) fn of_request(&self, room: Option<Arc<Room>>) -> Tasks {
        Tasks {
            tracker: self.tracker.clone(),
            room,
        }
    }

    /// Begins a change. It continues whether or not the returned future is awaited.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        change: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let room = self.room.clone();
        self.tracker.spawn(async move {
            let done = change.await;
            drop(room);
            done
        })
    }

    /// Begins a change and returns its answer.
    pub(super) async fn answer(
        &self,
        change: impl Future<Output = Response<Body>> + Send + 'static,
    ) -> Response<Body> {
        self.begin(change)
            .await
            .unwrap_or_else(|error| ended(&error))
    }

    /// Waits at most `time` for the changes in progress. Returns how many are left.
    pub async fn end(&self, time: Duration) -> usize {
        self.tracker.close();
        let _ = tokio::time::timeout(time, self.tracker.wait()).await;
        self.tracker.len()
    }
}

fn ended(error: &JoinError) -> Response<Body> {
    tracing::error!(%error, "admin: a change failed with an internal error");
    let detail = "internal error; see the host's log";
    reply::refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claimed::{Claimed, Rooms};
    use hms_net::connection_limit::Activity;
    use tokio::sync::oneshot;

    #[tokio::test(start_paused = true)]
    async fn change_outlives_its_client_and_shutdown_waits_for_it() {
        let tasks = Tasks::default();
        let (go_on, wait) = oneshot::channel::<()>();
        let (told, done) = oneshot::channel();
        let change = async move {
            let _ = wait.await;
            let _ = told.send(());
            Response::new(hms_core::body::empty())
        };
        let answer = tokio::time::timeout(Duration::from_millis(10), tasks.answer(change));
        assert!(answer.await.is_err(), "the client leaves");
        assert_eq!(tasks.end(Duration::from_millis(10)).await, 1);
        go_on.send(()).unwrap();
        assert_eq!(tasks.end(Duration::from_secs(10)).await, 0);
        done.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn abandoned_change_keeps_its_room_until_it_is_done() {
        let at_work = Activity::new().begin_unproven().unwrap();
        let mut claimed = Claimed::new(at_work, Rooms::default());
        assert!(claimed.prove(true));
        let room = claimed.room().unwrap();
        let tasks = Tasks::default();
        let (go_on, wait) = oneshot::channel::<()>();
        let change = async move {
            let _ = wait.await;
            Response::new(hms_core::body::empty())
        };
        let of_request = tasks.of_request(claimed.room());
        let answer = tokio::time::timeout(Duration::from_millis(10), of_request.answer(change));
        assert!(answer.await.is_err(), "the client leaves");
        drop((of_request, claimed));
        assert_eq!(Arc::strong_count(&room), 2, "the change has it");
        go_on.send(()).unwrap();
        assert_eq!(tasks.end(Duration::from_secs(10)).await, 0);
        assert_eq!(Arc::strong_count(&room), 1);
    }

    #[tokio::test]
    async fn panicking_change_is_answered_with_500() {
        let answer = Tasks::default().answer(async { panic!("a fault") }).await;
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
