//! The thread that talks HTTP with clients: hyper on a tokio runtime of its own.
//!
//! **Invariant.** What it keeps of clients is bounded: connections, bodies that are read at once, their size, and posts that
//! wait for their answer. Nobody who is slow keeps others from being answered, or the job from ending.

use std::convert::Infallible;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::RETRY_AFTER;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Post;
use crate::connectors::Wake;
use crate::limits::{HTTP_BODIES_MAX, HTTP_BODY_BYTES_MAX, HTTP_POSTS_MAX};

/// How long a client may take for the head of a request, and for its body.
const CLIENT_PATIENCE: Duration = Duration::from_secs(30);
/// How long answers may take on their way when the job ends.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// The thread; it ends with its owner, behind the answers that were given.
#[derive(Debug)]
pub struct Serving {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was told when it happened.
            let _ = thread.join();
        }
    }
}

/// Where posts go, and how many there are.
pub struct Desk {
    /// By shard.
    pub queues: Vec<(SyncSender<Post>, Arc<dyn Wake>)>,
    /// The shard that is asked first.
    pub next: AtomicUsize,
    /// Posts that wait for their answer.
    pub under_way: Arc<AtomicUsize>,
    /// Bodies that may be read at once.
    pub readers: Semaphore,
}

/// Begins to take posts at `listener`.
///
/// # Errors
/// The system has no more threads, or cannot watch the socket.
pub fn serve(listener: TcpListener, desk: Desk) -> std::io::Result<Serving> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("velocore-http".to_string())
        .spawn(move || {
            if let Err(error) = runtime.block_on(accept(listener, Arc::new(desk), stopped)) {
                tracing::error!("no posts can be taken any more: {error}");
            }
        })?;
    Ok(Serving {
        stop: Some(stop),
        thread: Some(thread),
    })
}

async fn accept(
    listener: TcpListener,
    desk: Arc<Desk>,
    mut stopped: oneshot::Receiver<()>,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (closing, closed) = watch::channel(());
    let mut connections = JoinSet::new();
    loop {
        let has_room = connections.len() < HTTP_POSTS_MAX;
        tokio::select! {
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(stream, desk.clone(), closed.clone()));
                }
                // The one that waited has gone, or the process has no descriptor left for it.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            _ = connections.join_next(), if !connections.is_empty() => {}
            _ = &mut stopped => break,
        }
    }
    drop((listener, closing));
    let all_answered = async { while connections.join_next().await.is_some() {} };
    // A client that does not read its answer posts again.
    let _ = timeout(ANSWER_PATIENCE, all_answered).await;
    Ok(())
}

/// One connection, until it or the job ends.
async fn converse(stream: TcpStream, desk: Arc<Desk>, mut closed: watch::Receiver<()>) {
    let service = service_fn(move |request| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(desk.take(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CLIENT_PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // That a client breaks off is its own affair.
        _ = connection.as_mut() => return,
        _ = closed.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// A post that waits for its answer.
struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Desk {
    /// A request, until it is answered.
    async fn take(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::POST {
            return told(405, "rows are posted\n");
        }
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let _under_way = UnderWay(self.under_way.clone());
        if before >= HTTP_POSTS_MAX {
            return told(503, "too many posts wait; come again\n");
        }
        let too_large = || told(413, &format!("a body has at most {HTTP_BODY_BYTES_MAX} bytes\n"));
        if request.body().size_hint().lower() > HTTP_BODY_BYTES_MAX as u64 {
            return too_large();
        }
        let reader = self.readers.acquire().await;
        let body = Limited::new(request.into_body(), HTTP_BODY_BYTES_MAX).collect();
        let body = match timeout(CLIENT_PATIENCE, body).await {
            Err(_) => return told(408, "the body did not come\n"),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return too_large(),
            Ok(Err(_)) => return told(400, "the body did not come whole\n"),
            Ok(Ok(body)) => body.to_bytes().to_vec(),
        };
        let (answer, answered) = oneshot::channel();
        let is_taken = self.hand_on(Post { body, answer });
        drop(reader);
        if !is_taken {
            return told(503, "the job is busy; come again\n");
        }
        match answered.await {
            Ok((status, text)) => told(status, &text),
            Err(_) => told(503, "the job has stopped\n"),
        }
    }

    /// To the shard whose turn it is, or the next that has room; whether there was one.
    fn hand_on(&self, mut post: Post) -> bool {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        for turn in 0..self.queues.len() {
            let (queue, waker) = &self.queues[(first + turn) % self.queues.len()];
            match queue.try_send(post) {
                Ok(()) => {
                    waker.wake();
                    return true;
                }
                Err(TrySendError::Full(refused) | TrySendError::Disconnected(refused)) => post = refused,
            }
        }
        false
    }
}

fn told(status: u16, text: &str) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(status).expect("invariant: statuses are those of HTTP");
    let mut response = Response::new(Full::new(Bytes::from(text.to_string())));
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, hyper::header::HeaderValue::from_static("1"));
    }
    response
}

/// As many bodies are read at once as there is memory for.
pub fn readers() -> Semaphore {
    Semaphore::new(HTTP_BODIES_MAX)
}
