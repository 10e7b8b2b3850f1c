"""CT from disk: DICOM series, lung masks on other grids, and readers' nodule contours."""
