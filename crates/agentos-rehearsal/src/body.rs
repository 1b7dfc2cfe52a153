//! A response body in pieces, with a pause before each but the first if one is wanted.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// All pieces of a body, known beforehand.
#[derive(Debug)]
pub(crate) struct Paced {
    pieces: VecDeque<Bytes>,
    delay: Duration,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    pub(crate) fn new(pieces: impl IntoIterator<Item = Bytes>, delay: Duration) -> Self {
        Self { pieces: pieces.into_iter().collect(), delay, pause: None }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.pause = None;
        }
        let piece = self.pieces.pop_front();
        if !self.pieces.is_empty() && !self.delay.is_zero() {
            self.pause = Some(Box::pin(tokio::time::sleep(self.delay)));
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.pieces.iter().collect::<Vec<_>>().as_slice() {
            // One piece is a whole document: its length belongs into the head.
            [only] => SizeHint::with_exact(only.len() as u64),
            _ => SizeHint::default(),
        }
    }
}
