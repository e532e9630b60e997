"""What is told of a run: the page of a batch (`page.write_report`), and the texts on a terminal."""
