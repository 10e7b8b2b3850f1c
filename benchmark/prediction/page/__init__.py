"""The files of the local web page: its template, style and script."""
