"""Encoders put to use: vectors of many sentences, their nearest neighbours, and translations mined by margin."""
