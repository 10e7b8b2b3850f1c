"""DICOM radiographs: opened under bounds, decoded, shown as the standard says, turned upright."""

from datamodules.sources.dicom.film import read_dicom
from datamodules.sources.dicom.header import FilmHeader, read_film_header

__all__ = ["FilmHeader", "read_dicom", "read_film_header"]
