pub(crate) mod bus;
