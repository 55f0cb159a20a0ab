/** What the guides' examples for the browser take for granted. */
import AwsS3 from '@uppy/aws-s3'
import Uppy from '@uppy/core'
import * as tus from 'tus-js-client'
import { createMediaClient } from '../../../src/client/client.ts'

Object.assign(window, { packages: { AwsS3, Uppy, createMediaClient, tus } })
