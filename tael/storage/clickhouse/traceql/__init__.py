"""TraceQL where the traces are: candidates by SQL, their spans as columns, evaluation in numpy."""
