//! Changes run in tasks of their own. An answer only watches its change, so that a client that goes away, or is cut, never
//! leaves one half done.

use super::reply;
use crate::body::Body;
use http::{Response, StatusCode};
use std::time::Duration;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::task::TaskTracker;

/// The changes under way. No more than requests of the admin listener, and those whose clients have left: each window
/// and each file takes one at a time.
#[derive(Debug, Clone, Default)]
pub struct Tasks(TaskTracker);

impl Tasks {
    /// Begins a change. It goes on whether or not what is returned is awaited.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        change: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.0.spawn(change)
    }

    /// Begins a change and gives its answer.
    pub(super) async fn answer(
        &self,
        change: impl Future<Output = Response<Body>> + Send + 'static,
    ) -> Response<Body> {
        self.begin(change)
            .await
            .unwrap_or_else(|error| ended(&error))
    }

    /// Waits for the changes under way, for at most `time`. Gives how many there still are.
    pub async fn end(&self, time: Duration) -> usize {
        self.0.close();
        let _ = tokio::time::timeout(time, self.0.wait()).await;
        self.0.len()
    }
}

fn ended(error: &JoinError) -> Response<Body> {
    tracing::error!(%error, "admin: a change ended by a fault of the host");
    let detail = "a fault of the host: its log has it";
    reply::refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_change_goes_on_without_its_client_and_the_end_waits_for_it() {
        let tasks = Tasks::default();
        let (go_on, wait) = oneshot::channel::<()>();
        let (told, done) = oneshot::channel();
        let change = async move {
            let _ = wait.await;
            let _ = told.send(());
            Response::new(crate::body::empty())
        };
        let answer = tokio::time::timeout(Duration::from_millis(10), tasks.answer(change));
        assert!(answer.await.is_err(), "the client leaves");
        assert_eq!(tasks.end(Duration::from_millis(10)).await, 1);
        go_on.send(()).unwrap();
        assert_eq!(tasks.end(Duration::from_secs(10)).await, 0);
        done.await.unwrap();
    }

    #[tokio::test]
    async fn a_change_that_panics_is_answered() {
        let answer = Tasks::default().answer(async { panic!("a fault") }).await;
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
