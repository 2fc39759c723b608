"""Station 4, and the way to it: handing over from acceptor to writer, judging, recording (REC, design section 3)."""
